"""Tells a difference that lasts from a change that is on its way.

What differs is looked at again and again, with growing pauses, and each time after the sync is done with all events
that the topic had. A connector needs tens of milliseconds from a commit to the topic, the pauses are longer. What then
differs although neither side has moved for `LASTING` looks is a difference; what still moves at the end is unsettled.
"""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sync_service.apply.changes import Key
from sync_service.reconciliation.canonical import CanonicalRow
from sync_service.reconciliation.comparison_target import Sides
from sync_service.reconciliation.rows import Difference, Look
from sync_service.reconciliation.topic import Ends

PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 1.6, 1.6)
LASTING = 4


class Draining(Protocol):
    async def drained(self) -> Ends | None:
        """See `Topic`."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """A difference, what was seen, and the ends of the topic that the sync had reached before."""

    difference: Difference
    look: Look
    ends: Ends


@dataclass(slots=True)
class Settled:
    """What became of suspects. `is_lagging`: the sync did not get on with its events, so nothing could be told."""

    lasting: list[Lasting] = field(default_factory=list)
    unsettled: list[Difference] = field(default_factory=list)
    is_lagging: bool = False


@dataclass(frozen=True, slots=True)
class _Suspect:
    """`since` counts the looks since either side has moved, `copy_since` those since the copy has."""

    difference: Difference
    look: Look
    ends: Ends
    source_state: Hashable
    copy_state: Hashable
    since: int = 1
    copy_since: int = 1


async def look_at(sides: Sides, keys: Sequence[Key]) -> list[Look]:
    copies = await sides.copy.look_up(keys)
    sources = await sides.source.look_up(keys)
    return [Look(key, sources.get(key), copies.get(key)) for key in keys]


async def settle(
    sides: Sides, topic: Draining, keys: Iterable[Key], pauses: Sequence[float] = PAUSES_SECONDS
) -> Settled:
    """Raises `CannotCompare`."""
    settled = Settled()
    suspects: dict[Key, _Suspect | None] = dict.fromkeys(keys)
    for pause in (0.0, *pauses):
        if not suspects:
            return settled
        await asyncio.sleep(pause)
        ends = await topic.drained()
        if ends is None:
            return await _give_up(sides, suspects, settled)
        for look in await look_at(sides, list(suspects)):
            suspect = _seen(sides.canonical, look, ends, suspects.pop(look.key))
            if suspect is None:
                continue
            if suspect.since >= LASTING:
                settled.lasting.append(Lasting(suspect.difference, suspect.look, suspect.ends))
            else:
                suspects[look.key] = suspect
    for suspect in filter(None, suspects.values()):
        # A copy that never follows a source that goes on moving is not on its way.
        if suspect.copy_since >= LASTING:
            settled.lasting.append(Lasting(suspect.difference, suspect.look, suspect.ends))
        else:
            settled.unsettled.append(suspect.difference)
    return settled


async def _give_up(sides: Sides, keys: Iterable[Key], settled: Settled) -> Settled:
    settled.is_lagging = True
    differences = (look.difference(sides.canonical) for look in await look_at(sides, list(keys)))
    settled.unsettled = [difference for difference in differences if difference is not None]
    return settled


def _seen(canonical: CanonicalRow, look: Look, ends: Ends, before: _Suspect | None) -> _Suspect | None:
    """None if there is no difference (any more)."""
    difference = look.difference(canonical)
    if difference is None:
        return None
    suspect = _Suspect(difference, look, ends, _source_state(canonical, look), _copy_state(canonical, look))
    if before is None or suspect.copy_state != before.copy_state:
        return suspect
    unmoved = suspect.source_state == before.source_state
    return replace(suspect, since=before.since + 1 if unmoved else 1, copy_since=before.copy_since + 1)


def _source_state(canonical: CanonicalRow, look: Look) -> Hashable:
    row = look.source
    if row is None:
        return None
    return row.problem if row.values is None else canonical.text(row.key, row.values)


def _copy_state(canonical: CanonicalRow, look: Look) -> Hashable:
    row = look.copy
    if row is None:
        return None
    return row.version, None if row.values is None else canonical.text(row.key, row.values)
