"""Faults of the broker's data: deleted topics and records, compacted logs."""

import asyncio
import random
import shutil
from collections.abc import Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from faults.catalogue.base import Fault, now, random_pause
from faults.system import Gap, System
from faults.topics import Record

_CONNECT_TOPICS = ("connect-configs", "connect-offsets", "connect-status")
# Makes the cleaner compact a topic within seconds.
_COMPACT_NOW = {
    "cleanup.policy": "compact",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "100",
}
# The cleaner looks for work every 15 s.
_CLEANED_WITHIN_SECONDS = 60.0
_CLEANER_SECONDS = 1.0


class RecordsDeleted(Fault):
    """Retention deletes records that the stopped sync has not read: its offsets are out of range."""

    name = "retention overtakes sync"
    weight = 2
    exclusive = True

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.counts.sample()
        await system.stop("sync")
        await random_pause(rng, 1, 2)
        topic = rng.choice(system.topics.topics)
        # Poison in the deleted records can no longer become dead letters.
        system.dead_letters.forget_unread()
        system.gap = Gap.EVENTS
        async with system.topics.admin() as admin:
            ends = await system.topics.ends(topic)
            await admin.delete_records({partition: RecordsToDelete(end) for partition, end in ends.items() if end})
        await system.start("sync")
        return now()


class TopicDeleted(Fault):
    """An operator deletes the topic of a route; the registrar creates it again."""

    name = "topic deleted"
    weight = 1
    exclusive = True

    async def inject(self, system: System, rng: random.Random) -> float:
        topic = rng.choice(system.topics.topics)
        system.dead_letters.forget_unread()
        system.gap = Gap.EVENTS
        async with system.topics.admin() as admin:
            await admin.delete_topics([topic])
        return now()


class AllTopicsLost(Fault):
    """The broker restarts without data; Connect restarts, and its connectors take a snapshot."""

    name = "all topics lost"
    weight = 1
    exclusive = True

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - no random choice
        lost = now()
        await system.kill("connect")
        await system.kill("kafka")
        system.dead_letters.forget_unread()
        system.gap = Gap.DELETES
        await asyncio.to_thread(shutil.rmtree, system.stack.configuration.data("kafka"))
        await system.start("kafka")
        await system.start("connect")
        return lost


class ConnectCompacted(Fault):
    """Kafka Connect's own topics are compacted to the newest record of each key, and Connect is killed."""

    name = "Connect's topics compacted"
    weight = 1

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - no random choice
        async with system.topics.admin() as admin:
            await _configure(admin, _CONNECT_TOPICS, _COMPACT_NOW)
            await _until_compacted(system, "connect-offsets")
            killed = now()
            await system.kill("connect")
            await system.start("connect")
            await _configure(admin, _CONNECT_TOPICS, {"cleanup.policy": "compact"})
        return killed


async def _configure(admin: AIOKafkaAdminClient, topics: Sequence[str], settings: Mapping[str, str]) -> None:
    """Replace the settings of these topics."""
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings)) for topic in topics])


async def _until_compacted(system: System, topic: str) -> None:
    """Wait until records of the first read are gone from the log. Connectors replace their offsets every second."""
    before: list[Record] = []
    async with asyncio.timeout(_CLEANED_WITHIN_SECONDS):
        while True:
            records = await system.topics.read(topic)
            before = before or records
            if before and sum(record.offset <= before[-1].offset for record in records) < len(before):
                return
            await asyncio.sleep(_CLEANER_SECONDS)
