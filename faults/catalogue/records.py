"""Faults of records: replays and poison are written to the topics."""

import json
import random
import secrets
from dataclasses import replace

from faults.catalogue.base import Fault, now
from faults.poison import is_usable, kinds_for, poisoned
from faults.system import System
from faults.topics import MARKER, Record
from sync_service.debezium.envelope import SNAPSHOT_READ

_PARTITIONS_TRIED = 6


async def some_partition(system: System, rng: random.Random) -> list[Record]:
    """Return change events of one partition, without records of this suite and without snapshot reads.

    A snapshot read is current by definition: after a kill in a snapshot, Connect reads the rows again and never sends
    an old read twice.
    """
    for _ in range(_PARTITIONS_TRIED):
        topic = rng.choice(system.topics.topics)
        records = await system.topics.read(topic, rng.choice(await system.topics.partitions(topic)))
        if events := [each for each in records if is_change_event(each) and not _is_snapshot(each)]:
            return events
    return []


def is_change_event(record: Record) -> bool:
    """Exclude records of this suite and of other tests that use the system."""
    if MARKER in record.headers:
        return False
    if record.value is None:
        return True
    try:
        event = json.loads(record.value)
    except ValueError:
        return False
    return isinstance(event, dict) and "op" in event


def _is_snapshot(record: Record) -> bool:
    return record.value is not None and f'"op":"{SNAPSHOT_READ}"'.encode() in record.value.replace(b" ", b"")


class StaleEvents(Fault):
    """Repeat old events at the end of the topic: after newer events of the same rows, some after their deletes."""

    name = "stale events"
    weight = 14

    async def inject(self, system: System, rng: random.Random) -> float:
        events = [each for each in await some_partition(system, rng) if each.value is not None]
        by_key: dict[bytes | None, list[Record]] = {}
        for each in events:
            by_key.setdefault(each.key, []).append(each)
        old = [each for several in by_key.values() for each in several[:-1]]
        await system.topics.write(rng.sample(old, min(len(old), rng.randint(1, 10))))
        return now()


class TailReplayed(Fault):
    """Repeat the newest events in order, as Connect does after a kill before its commit."""

    name = "replayed tail"
    weight = 10

    async def inject(self, system: System, rng: random.Random) -> float:
        tail = (await some_partition(system, rng))[-rng.randint(5, 60) :]
        await system.topics.write(tail)
        return now()


class Poison(Fault):
    """Write records that can't be applied, of every kind, at random places in the traffic."""

    name = "poison"
    weight = 16

    async def inject(self, system: System, rng: random.Random) -> float:
        events = [each for each in await some_partition(system, rng) if is_usable(each)]
        if not events:
            return now()
        kinds = kinds_for(events[0].topic)
        poison = []
        for template in rng.choices(events, k=rng.randint(1, 5)):
            kind, marker = rng.choice(kinds), secrets.token_hex(8)
            system.dead_letters.expect(marker, kind)
            poison.append(replace(poisoned(kind, template, marker), partition=template.partition))
        await system.topics.write(poison)
        return now()
