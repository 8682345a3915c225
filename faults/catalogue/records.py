"""Faults of records: replays and poison are written to the topics."""

import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import replace

from faults.catalogue.base import Fault, now
from faults.poison import is_usable, kinds_for, poisoned
from faults.system import System
from faults.topics import MARKER, Record
from sync_service.debezium.envelope import SNAPSHOT_READ, decode
from sync_service.debezium.positions import LogPosition

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


def provably_old(records: Sequence[Record]) -> list[Record]:
    """The events that are provably older than a later event of their rows: the sync must refuse them."""
    newest: dict[bytes | None, LogPosition] = {}
    old = []
    for record in reversed(records):
        event = decode(record.key, record.value)
        if event is None or event.position is None:
            continue
        if record.key in newest and event.position.precedes(newest[record.key]):
            old.append(record)
        newest.setdefault(record.key, event.position)
    return old[::-1]


class StaleEvents(Fault):
    """Repeat old events at the end of the topic: after newer events of the same rows, some after their deletes.

    An event of MongoDB is only repeated if it is more than a minute older: the order of others can't be proved.
    """

    name = "stale events"
    weight = 14

    async def inject(self, system: System, rng: random.Random) -> float:
        for _ in range(_PARTITIONS_TRIED):
            if old := provably_old(await some_partition(system, rng)):
                await system.topics.write(rng.sample(old, min(len(old), rng.randint(1, 10))))
                break
        return now()


class TailReplayed(Fault):
    """Repeat the newest events in order, as Connect does after a kill before its commit: up to the newest event.

    Connect has one writer for each partition. Here the real one continues, so what it has written in between is
    repeated, too.
    """

    name = "replayed tail"
    weight = 10

    async def inject(self, system: System, rng: random.Random) -> float:
        tail = (await some_partition(system, rng))[-rng.randint(5, 60) :]
        repeated: set[int] = set()
        while tail:
            repeated.update(await system.topics.write(tail))
            after = await system.topics.read(tail[-1].topic, tail[-1].partition, tail[-1].offset + 1)
            tail = [each for each in after if each.offset < max(repeated) and each.offset not in repeated]
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
