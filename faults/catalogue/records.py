"""Records that are put onto the topics: replays, and poison."""

import json
import random
import secrets
from dataclasses import replace

from faults.catalogue.base import Fault, now
from faults.poison import is_usable, kinds_for, poisoned
from faults.system import System
from faults.topics import MARKER, Record
from sync_service.apply.ordering import SNAPSHOT_READ

_PARTITIONS_TRIED = 6


async def some_partition(system: System, rng: random.Random) -> list[Record]:
    """The change events of a partition that has some, none of them put there by us or by a snapshot.

    A snapshot's reads are newest by definition: Connect, when it is killed in a snapshot, reads rows again and never
    sends an old reading twice.
    """
    for _ in range(_PARTITIONS_TRIED):
        topic = rng.choice(system.topics.topics)
        records = await system.topics.read(topic, rng.choice(await system.topics.partitions(topic)))
        if events := [each for each in records if is_change_event(each) and not _is_snapshot(each)]:
            return events
    return []


def is_change_event(record: Record) -> bool:
    """None of ours, nor what somebody else has put there who uses the system, too: another test."""
    if MARKER in record.headers:
        return False
    if record.value is None:
        return True
    try:
        told = json.loads(record.value)
    except ValueError:
        return False
    return isinstance(told, dict) and "op" in told


def _is_snapshot(record: Record) -> bool:
    return record.value is not None and f'"op":"{SNAPSHOT_READ}"'.encode() in record.value.replace(b" ", b"")


class StaleEvents(Fault):
    """Old events once more, at the end of the topic: behind newer ones of the same rows, some behind their deletes."""

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
    """The newest events once more in their order, as Connect sends them after it was killed before a commit."""

    name = "replayed tail"
    weight = 10

    async def inject(self, system: System, rng: random.Random) -> float:
        tail = (await some_partition(system, rng))[-rng.randint(5, 60) :]
        await system.topics.write(tail)
        return now()


class Poison(Fault):
    """Records that nobody can apply, of any kind, at random places in the traffic."""

    name = "poison"
    weight = 16

    async def inject(self, system: System, rng: random.Random) -> float:
        events = [each for each in await some_partition(system, rng) if is_usable(each)]
        if not events:
            return now()
        kinds = kinds_for(events[0].topic)
        spoilt = []
        for template in rng.choices(events, k=rng.randint(1, 5)):
            kind, marker = rng.choice(kinds), secrets.token_hex(8)
            system.letters.expect(marker, kind)
            spoilt.append(replace(poisoned(kind, template, marker), partition=template.partition))
        await system.topics.write(spoilt)
        return now()
