"""The part "sync": drain a topic full of change events into an empty copy.

sync-service and Debezium's own sink copy users to MongoDB. One and two processes of sync-service, and the baseline,
copy tweets to MySQL; the baseline writes the same rows with the same driver in multi-row upserts, without Kafka,
decoding or guards. The time counts from the first rows in the copy to the last, so that no start-up time counts.
"""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncmy
import httpx
import psutil
import pymongo
import yaml
from aiokafka.admin import NewTopic
from sqlalchemy.engine import make_url

from benchmarks import change_events
from benchmarks.environment import print_progress, running_stack
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options
from benchmarks.report import Comparison, Report
from benchmarks.rounds import Step, in_rounds
from benchmarks.server import free_port
from embedded_stack import Stack
from embedded_stack.components.base import LOOPBACK
from embedded_stack.configuration import REPOSITORY
from embedded_stack.process import Command, ComponentProcess
from service_kit.kafka import KafkaClients
from service_kit.mysql import migrate
from sync_service.routes.loader import default_routes_file
from sync_service.sinks.mysql.schema import migrations_folder

PROGRAM = Path(sys.executable).with_name("sync-service")
EVENTS = 200_000
PARTITIONS = 6
BATCH_ROWS = 500
_POLL_SECONDS = 0.1
_TIMEOUT_SECONDS = 300.0
_GRACE_SECONDS = 15
_SINK = "bench-sink"

USERS, TWEETS = "users to MongoDB", "tweets to MySQL"
TANDEM, TWO, DEBEZIUM, BASELINE = "tandem", "two of tandem", "Debezium's sink", "baseline"

TOPICS: dict[str, Callable[[int], Iterable[change_events.Record]]] = {
    "bench.mysql.users": change_events.users,
    "bench.schemas.users": change_events.users_with_schemas,
    "bench.mongo.tweets": change_events.tweets,
}
COMPARISONS = (
    Comparison(f"{USERS}: sync-service / Debezium's sink", (USERS, TANDEM), (USERS, DEBEZIUM), "2 or more"),
    Comparison(f"{TWEETS}: sync-service / upserts alone", (TWEETS, TANDEM), (TWEETS, BASELINE), "0.60 or more"),
    Comparison(f"{TWEETS}: two processes / one", (TWEETS, TWO), (TWEETS, TANDEM)),
)


def measure(options: Options, events: int = EVENTS) -> Report:
    """Run every drain to its end; `options.seconds` has no effect. Raises `MeasurementError`, `StackError`."""
    with ExitStack() as running:
        stack = running.enter_context(running_stack("mysql", "mongo", "connect"))
        for topic, records in TOPICS.items():
            print_progress(f"{events} events to {topic} …")
            asyncio.run(_fill(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"], topic, records(events)))
        copies = Copies(stack, events)
        asyncio.run(migrate(copies.mysql_url, migrations_folder()))
        users: list[Step] = [
            ((USERS, TANDEM), lambda: copies.drained_by_us("users", "bench.mysql.users", 1)),
            ((USERS, DEBEZIUM), copies.drained_by_debezium),
        ]
        tweets: list[Step] = [
            ((TWEETS, TANDEM), lambda: copies.drained_by_us("tweets", "bench.mongo.tweets", 1)),
            ((TWEETS, TWO), lambda: copies.drained_by_us("tweets", "bench.mongo.tweets", 2)),
            ((TWEETS, BASELINE), copies.filled_by_the_driver),
        ]
        return Report(
            part="sync",
            settings={"events": events, "partitions": PARTITIONS, "rows_at_once": BATCH_ROWS},
            versions={"tandem": versions(("aiokafka", "asyncmy", "motor", "pymongo", "msgspec"), Path(sys.prefix))},
            samples=in_rounds(options, [users, tweets]),
            comparisons=COMPARISONS,
        )


@dataclass(frozen=True)
class Copies:
    """Both copies, and the ways to fill them."""

    stack: Stack
    events: int

    @property
    def mysql_url(self) -> str:
        return self.stack.addresses["MYSQL_ROOT_URL"].rstrip("/") + "/tweets"

    @property
    def mongodb_url(self) -> str:
        return self.stack.addresses["MONGODB_URL"]

    def drained_by_us(self, route: str, topic: str, processes: int) -> Measurement:
        """Drain by so many processes of one consumer group."""
        routes = self.stack.configuration.state / "measured-routes.yaml"
        declared = yaml.safe_load(default_routes_file().read_text())[route]
        # Beside Debezium's sink, in the same database.
        declared["target"].pop("database", None)
        routes.write_text(yaml.safe_dump({route: {**declared, "topic": topic}}))
        variables = {
            "PATH": os.environ["PATH"],
            "HOST": LOOPBACK,
            "MYSQL_URL": self.mysql_url,
            "MONGODB_URL": self.mongodb_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.stack.addresses["KAFKA_BOOTSTRAP_SERVERS"],
            "AUTH_JWKS_URL": f"http://{LOOPBACK}:1/jwks.json",  # no request needs a token
            "SYNC_ROUTES_FILE": str(routes),
            "SYNC_PROOF_SHARE": "0",  # the sources of the events do not exist
            "SYNC_GROUP_ID": f"bench-{secrets.token_hex(4)}",
        }
        counted = self._count_users if route == "users" else self._count_tweets
        self._empty()
        with ExitStack() as running:
            members = [running.enter_context(self._process(number, variables)) for number in range(processes)]
            return self._timed(counted, members)

    def drained_by_debezium(self) -> Measurement:
        self._empty()
        config = {
            "connector.class": "io.debezium.connector.mongodb.MongoDbSinkConnector",
            "tasks.max": "1",
            "topics": "bench.schemas.users",
            "mongodb.connection.string": self.mongodb_url,
            "sink.database": "tweets",
            "collection.name.format": "users_copy",
            "primary.key.mode": "record_key",
            **{f"{part}.converter": "org.apache.kafka.connect.json.JsonConverter" for part in ("key", "value")},
            **{f"{part}.converter.schemas.enable": "true" for part in ("key", "value")},
            "consumer.override.auto.offset.reset": "earliest",
            "consumer.override.group.id": f"bench-sink-{secrets.token_hex(4)}",
            "consumer.override.max.poll.records": "2000",
            "batch.size": "2000",
        }
        with httpx.Client(base_url=self.stack.addresses["CONNECT_URL"], timeout=30) as connect:
            connect.put(f"/connectors/{_SINK}/config", json=config).raise_for_status()
            try:
                running = self.stack.processes["connect"].running()
                return self._timed(self._count_users, [] if running is None else [running])
            finally:
                connect.delete(f"/connectors/{_SINK}")

    def filled_by_the_driver(self) -> Measurement:
        self._empty()
        rows = [_tweet_row(number) for number in range(self.events)]
        began = time.perf_counter()
        asyncio.run(self._upsert(rows))
        return Measurement(self.events / (time.perf_counter() - began), 0.0, 0.0)

    async def _upsert(self, rows: list[tuple[Any, ...]]) -> None:
        connection = await _connected(self.mysql_url)
        columns = ("id", *_TWEET_FIELDS, "sync_event", "sync_epoch", "sync_position", "sync_operation")
        row = f"({', '.join(['%s'] * len(columns))})"
        updates = ", ".join(f"{column} = new.{column}" for column in columns[1:])
        insert = f"INSERT INTO tweets_copy ({', '.join(columns)}) VALUES "  # noqa: S608 - names of our own
        async with connection, connection.cursor() as cursor:
            for start in range(0, len(rows), BATCH_ROWS):
                batch = rows[start : start + BATCH_ROWS]
                statement = f"{insert}{', '.join([row] * len(batch))} AS new ON DUPLICATE KEY UPDATE {updates}"
                await cursor.execute(statement, tuple(value for each in batch for value in each))
                await connection.commit()

    @contextmanager
    def _process(self, number: int, variables: dict[str, str]) -> Iterator[psutil.Process]:
        process = ComponentProcess(f"sync-{number}", self.stack.configuration.state)
        port = str(free_port())
        try:
            process.start(Command([str(PROGRAM), "run"], {**variables, "PORT": port}, REPOSITORY))
            running = process.running()
            if running is None:
                raise MeasurementError(f"sync-service has exited:\n{process.log_tail()}")
            yield running
        finally:
            process.stop(_GRACE_SECONDS)

    def _timed(self, count: Callable[[], int], processes: list[psutil.Process]) -> Measurement:
        """Measure from the first rows in the copy until it is complete."""
        deadline = time.perf_counter() + _TIMEOUT_SECONDS
        while (first := count()) == 0:
            self._wait(first, deadline, processes)
        began, cpu_began = time.perf_counter(), _cpu_seconds(processes)
        while (rows := count()) < self.events:
            self._wait(rows, deadline, processes)
        elapsed, done = time.perf_counter() - began, self.events - first
        return Measurement(done / elapsed, 0.0, 0.0, cpu_ms=1000 * (_cpu_seconds(processes) - cpu_began) / done)

    def _wait(self, rows: int, deadline: float, processes: list[psutil.Process]) -> None:
        if not all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            raise MeasurementError(f"the sync has exited with {rows} of {self.events} rows; see its log")
        if time.perf_counter() > deadline:
            raise MeasurementError(f"{rows} of {self.events} rows have arrived after {_TIMEOUT_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)

    def _count_users(self) -> int:
        with pymongo.MongoClient[dict[str, Any]](self.mongodb_url) as client:
            return client.get_default_database()["users_copy"].estimated_document_count()

    def _count_tweets(self) -> int:
        return asyncio.run(_one(self.mysql_url, "SELECT COUNT(*) FROM tweets_copy"))

    def _empty(self) -> None:
        with pymongo.MongoClient[dict[str, Any]](self.mongodb_url) as client:
            for name in ("users", "users_copy"):
                client.get_default_database().drop_collection(name)
        asyncio.run(_one(self.mysql_url, "TRUNCATE TABLE tweets_copy"))


_TWEET_FIELDS = (
    *("author_id", "text", "created_at", "edited_at", "version"),
    *("reply_to", "repost_of", "quote_of", "entities", "lang", "source"),
)


def _tweet_row(number: int) -> tuple[Any, ...]:
    """Return the values of a tweet for the driver, with versions of realistic length."""
    document = change_events.tweet(number)
    moment = datetime.fromtimestamp(document["created_at"]["$date"] / 1000, UTC).replace(tzinfo=None)
    fields = {**document, "created_at": moment, "entities": json.dumps(document["entities"])}
    values = tuple(fields[name] for name in _TWEET_FIELDS)
    version = (f"{'0' * 32}:000000:{number:019d}", "mongodb:cdc.mongo", f"{number:020d}.{number:010d}", "c")
    return (document["_id"]["$oid"], *values, *version)


async def _fill(bootstrap_servers: str, topic: str, records: Iterable[change_events.Record]) -> None:
    clients = KafkaClients(bootstrap_servers)
    async with clients.started(clients.admin()) as admin:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    async with clients.started(clients.producer(linger_ms=20, max_batch_size=512 * 1024)) as producer:
        for key, value in records:
            await producer.send(topic, key=key, value=value)


async def _one(url: str, statement: str) -> int:
    """Return the number that the statement selects, or 0."""
    connection = await _connected(url)
    async with connection, connection.cursor() as cursor:
        await cursor.execute(statement)
        found = await cursor.fetchone()
        return int(found[0]) if found else 0


async def _connected(url: str) -> Any:
    address = make_url(url)
    return await asyncmy.connect(
        host=address.host,
        port=address.port or 3306,
        user=address.username,
        password=address.password or "",
        db=address.database,
    )


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
