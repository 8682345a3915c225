"""The whole sync in the process of the test, on a real broker and real databases, with topics for one test."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.errors import UnknownTopicOrPartitionError
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.background import Supervisor
from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import describe_topics
from support.change_events import Record, mongodb_event
from support.polling import eventually
from support.records import read_records
from support.stored_copies import empty_copy
from support.topics import create_topics
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC
from sync_service.kafka.admin import committed_offsets
from sync_service.metrics import SyncMetrics
from sync_service.routes.config import Route
from sync_service.runner import SyncRunner
from sync_service.settings import Settings

PARTITIONS = 3


def tweet_id(number: int) -> str:
    return f"{number:024x}"


def tweet_event(number: int, content: str, *, ordinal: int = 1, op: str = "c") -> Record:
    return mongodb_event({"_id": {"$oid": tweet_id(number)}, "text": content, "version": 1}, op=op, ordinal=ordinal)


@dataclass
class SyncHarness:
    """Topics for one test, a way to send events to them, and both copies."""

    settings: Settings
    routes: list[Route]
    producer: AIOKafkaProducer
    engine: AsyncEngine
    mongo: Any
    running: list[tuple[SyncRunner, "asyncio.Task[None]"]] = field(default_factory=list)

    @property
    def kafka(self) -> KafkaClients:
        return KafkaClients(self.settings.kafka_bootstrap_servers)

    @property
    def users_topic(self) -> str:
        return self.routes[0].topic

    @property
    def tweets_topic(self) -> str:
        return self.routes[1].topic

    async def send(self, topic: str, *records: Record, partition: int = 0) -> None:
        for key, value in records:
            await self.producer.send(topic, key=key, value=value, partition=partition)
        await self.producer.flush()

    def start_sync(self, **changed: Any) -> SyncRunner:
        settings = self.settings.model_copy(update=changed)
        registry = CollectorRegistry()
        runner = SyncRunner(settings, self.routes, SyncMetrics(registry), Supervisor(registry))
        self.running.append((runner, asyncio.create_task(runner.run())))
        return runner

    async def stop_sync(self, runner: SyncRunner) -> None:
        (task,) = (task for each, task in self.running if each is runner)
        runner.stop()
        await task

    async def create_topic(self, topic: str, partitions: int = PARTITIONS) -> None:
        await create_topics(self.settings.kafka_bootstrap_servers, topic, partitions=partitions)
        await self._know_of(topic, partitions)

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic and wait until it is gone: it can't be created again before."""
        async with self.kafka.started(self.kafka.admin()) as admin:
            await admin.delete_topics([topic])

        async def is_gone() -> bool:
            return isinstance((await describe_topics(self.kafka, [topic]))[topic], UnknownTopicOrPartitionError)

        await eventually(is_gone)

    async def add_partitions(self, topic: str, total: int) -> None:
        async with self.kafka.started(self.kafka.admin()) as admin:
            await admin.create_partitions({topic: NewPartitions(total)})
        await self._know_of(topic, total)

    async def _know_of(self, topic: str, partitions: int) -> None:
        """Wait until the producer knows the topic: it does not notice changes itself."""

        async def known() -> int:
            await self.producer.client.force_metadata_update()
            return len(await self.producer.partitions_for(topic))

        await eventually(known, lambda number: number == partitions)

    async def tweets(self) -> dict[str, str]:
        async with self.engine.connect() as connection:
            return {row.id: row.text for row in await connection.execute(text("SELECT id, text FROM tweets"))}

    @asynccontextmanager
    async def locked_tweet(self, number: int) -> AsyncIterator[None]:
        """Lock the row of a tweet in the copy, so that the sync can't write it."""
        async with self.engine.connect() as connection:
            await connection.execute(text("BEGIN"))
            try:
                query = text("SELECT * FROM tweets_copy WHERE id = :id FOR UPDATE")
                await connection.execute(query, {"id": tweet_id(number)})
                yield
            finally:
                await connection.execute(text("ROLLBACK"))

    async def becomes_committed(self, topic: str, offset: int, partition: int = 0) -> None:
        place = TopicPartition(topic, partition)

        async def committed() -> int | None:
            async with self.kafka.started(self.kafka.admin()) as admin:
                found = await committed_offsets(admin, self.settings.sync_group_id, [place])
            return found[place].offset if place in found else None

        await becomes(committed, offset)

    async def user(self, user_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.mongo["users"].find_one({"_id": user_id})
        return found

    async def dead_letters(self) -> "Sequence[ConsumerRecord[bytes, bytes]]":
        """The dead letters of this test's topics."""
        found = await read_records(self.settings.kafka_bootstrap_servers, DEAD_LETTERS_TOPIC)
        ours = {self.users_topic.encode(), self.tweets_topic.encode()}
        return [record for record in found if dict(record.headers).get("__connect.errors.topic") in ours]


@asynccontextmanager
async def sync_harness(settings: Settings, routes: dict[str, Route], engine: AsyncEngine) -> AsyncIterator[SyncHarness]:
    """With empty copies. `routes` has the routes of users and tweets; `engine` is that of the copy in MySQL."""
    suffix = secrets.token_hex(4)
    own = [routes[name].model_copy(update={"topic": f"test.{suffix}.{name}"}) for name in ("users", "tweets")]
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        settings.mongodb_url.get_secret_value(), tz_aware=True
    )
    mongo = client.get_default_database()
    await empty_copy(engine)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        harness = SyncHarness(settings, own, producer, engine, mongo)
        for route in own:
            await harness.create_topic(route.topic)
        yield harness
        for runner, task in harness.running:
            runner.stop()
            await task
    await client.drop_database(mongo.name)
    client.close()
    await empty_copy(engine)


async def becomes(look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    await eventually(look, lambda seen: seen == wanted)
