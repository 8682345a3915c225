"""A sync-service in a process of its own, with topics and routes for one test."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiokafka import AIOKafkaProducer

from embedded_stack import Stack
from support.change_events import Record, mongodb_event
from support.commands import run_command
from support.jwt_issuer import AUDIENCE, ISSUER, Issuer
from support.ports import free_port
from support.replicas import Replica, running_processes
from support.topics import create_topics

PARTITIONS = 2
# More than the broker accepts by default, for records that are too large.
LARGEST_REQUEST = 8 * 1024 * 1024


def tweet_id(number: int) -> str:
    return f"{number:024x}"


def tweet_event(number: int, *, ordinal: int = 1, op: str = "c", **fields: Any) -> Record:
    return mongodb_event({"_id": {"$oid": tweet_id(number)}, "version": 1, **fields}, op=op, ordinal=ordinal)


@dataclass
class SyncProcess:
    """`tweets` and `users` are the names of the routes and the ends of their topics.

    `routes` can be edited before a start.
    """

    stack: Stack
    issuer: Issuer
    producer: AIOKafkaProducer
    variables: dict[str, str]
    routes: dict[str, Any]
    tweets: str
    users: str

    def topic(self, route: str) -> str:
        return str(self.routes[route]["topic"])

    def write_routes(self) -> None:
        Path(self.variables["SYNC_ROUTES_FILE"]).write_text(yaml.safe_dump(self.routes))

    @contextmanager
    def wrong_fields(self, route: str, **wrong: Any) -> Iterator[None]:
        """Processes and commands that start in this block have a route whose fields are wrong."""
        right = self.routes[route]["fields"]
        self.routes[route]["fields"] = {**right, **wrong}
        self.write_routes()
        try:
            yield
        finally:
            self.routes[route]["fields"] = right
            self.write_routes()

    def bearer(self, role: str = "technical_worker", **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.issuer.token(role=role, sub=f'u-{role}', username=role, **claims)}"}

    async def send(self, route: str, *records: Record, partition: int = 0) -> None:
        for key, value in records:
            await self.producer.send(self.topic(route), key=key, value=value, partition=partition)
        await self.producer.flush()

    @asynccontextmanager
    async def running(self, **changed: str) -> AsyncIterator[Replica]:
        """Start it and wait until it is ready. The client is a `technical_worker`."""
        async with running_processes("sync-service", 1, self.stack, **{**self.variables, **changed}) as (replica,):
            replica.client.headers.update(self.bearer())
            yield replica

    async def command(self, *arguments: str, **changed: str) -> tuple[int, str, str]:
        """Run `sync-service …` to its end. Returns exit code, output and errors."""
        variables = {"PORT": str(free_port()), **self.variables, **changed}
        return await run_command("sync-service", *arguments, **variables)


@asynccontextmanager
async def sync_process(
    stack: Stack, issuer: Issuer, folder: Path, *, urls: dict[str, str], routes: Sequence[dict[str, Any]]
) -> AsyncIterator[SyncProcess]:
    """`urls` are MYSQL_URL, MONGODB_URL and KAFKA_BOOTSTRAP_SERVERS; `routes` those of users and of tweets."""
    suffix = secrets.token_hex(4)
    users, tweets = (f"users_{suffix}", f"tweets_{suffix}")
    own = {name: {**body, "topic": f"test.{name}"} for name, body in zip((users, tweets), routes, strict=True)}
    await create_topics(
        urls["KAFKA_BOOTSTRAP_SERVERS"],
        *(str(body["topic"]) for body in own.values()),
        partitions=PARTITIONS,
        configs={"max.message.bytes": str(LARGEST_REQUEST)},
    )
    variables = {
        **urls,
        "AUTH_JWKS_URL": issuer.url,
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "SYNC_ROUTES_FILE": str(folder / "routes.yaml"),
        "SYNC_GROUP_ID": f"test-{suffix}",
        "SYNC_SESSION_TIMEOUT_MS": "6000",
        # The sources of the events do not exist.
        "SYNC_PROOF_SHARE": "0",
    }
    async with AIOKafkaProducer(
        bootstrap_servers=urls["KAFKA_BOOTSTRAP_SERVERS"], max_request_size=LARGEST_REQUEST
    ) as producer:
        sync = SyncProcess(stack, issuer, producer, variables, own, tweets, users)
        sync.write_routes()
        yield sync
