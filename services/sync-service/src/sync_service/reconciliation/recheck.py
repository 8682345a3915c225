"""Distinguishes a lasting difference from a change that is still on its way.

Rows that differ are read again after growing pauses, each time after the sync has applied every event that the topic
had. A connector needs tens of milliseconds from a commit to the topic, and the pauses are longer. A row that differs in
`CONFIRMATIONS` reads in a row, without a change on either side, is a difference. One that still changes at the end is
unsettled.
"""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sync_service.apply.changes import Key
from sync_service.reconciliation.differences import Difference, RowPair
from sync_service.reconciliation.topic_progress import Ends
from sync_service.sinks.canonical import CanonicalRow
from sync_service.sinks.comparison_target import ComparisonTarget
from sync_service.sinks.rows import RowRequest

PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 1.6, 1.6)
CONFIRMATIONS = 4


# Keys of rows that may differ, and the natives of the source rows that have been seen with them (`SourceRow.native`).
Suspects = Mapping[Key, Sequence[Any]]


class CaughtUp(Protocol):
    async def caught_up(self) -> Ends | None:
        """See `TopicProgress`."""


@dataclass(frozen=True, slots=True)
class ConfirmedDifference:
    """A difference, both rows, and the ends of the topic that the sync had reached before the rows were read."""

    difference: Difference
    pair: RowPair
    ends: Ends


@dataclass(slots=True)
class RecheckResult:
    """`is_lagging`: the sync made no progress, so the result is unknown."""

    confirmed: list[ConfirmedDifference] = field(default_factory=list)
    unsettled: list[Difference] = field(default_factory=list)
    is_lagging: bool = False


@dataclass(frozen=True, slots=True)
class _Suspect:
    """`since` counts the reads since either side has changed, `copy_since` those since the copy has."""

    difference: Difference
    pair: RowPair
    ends: Ends
    source_state: Hashable
    copy_state: Hashable
    since: int = 1
    copy_since: int = 1


async def read_pairs(target: ComparisonTarget, keys: Suspects) -> list[RowPair]:
    copies = await target.copy.look_up(keys)
    requests = [
        RowRequest(key, natives, copies[key].source_id if key in copies else "") for key, natives in keys.items()
    ]
    sources = await target.source.look_up(requests)
    return [RowPair.of(key, sources.get(key, ()), copies.get(key)) for key in keys]


async def recheck(target: ComparisonTarget, topic: CaughtUp, keys: Suspects, pauses: Sequence[float]) -> RecheckResult:
    """Raises `CannotCompare`."""
    result = RecheckResult()
    suspects: dict[Key, _Suspect | None] = dict.fromkeys(keys)
    for pause in (0.0, *pauses):
        if not suspects:
            return result
        await asyncio.sleep(pause)
        ends = await topic.caught_up()
        if ends is None:
            return await _give_up(target, {key: keys[key] for key in suspects}, result)
        for pair in await read_pairs(target, {key: keys[key] for key in suspects}):
            suspect = _rechecked(target.canonical, pair, ends, suspects.pop(pair.key))
            if suspect is None:
                continue
            if suspect.since >= CONFIRMATIONS:
                result.confirmed.append(ConfirmedDifference(suspect.difference, suspect.pair, suspect.ends))
            else:
                suspects[pair.key] = suspect
    for suspect in filter(None, suspects.values()):
        # If the copy does not follow a source that keeps changing, its row is not on its way.
        if suspect.copy_since >= CONFIRMATIONS:
            result.confirmed.append(ConfirmedDifference(suspect.difference, suspect.pair, suspect.ends))
        else:
            result.unsettled.append(suspect.difference)
    return result


async def _give_up(target: ComparisonTarget, keys: Suspects, result: RecheckResult) -> RecheckResult:
    result.is_lagging = True
    differences = (pair.difference(target.canonical) for pair in await read_pairs(target, keys))
    result.unsettled = [difference for difference in differences if difference is not None]
    return result


def _rechecked(canonical: CanonicalRow, pair: RowPair, ends: Ends, before: _Suspect | None) -> _Suspect | None:
    """None if there is no difference, or no longer one."""
    difference = pair.difference(canonical)
    if difference is None:
        return None
    suspect = _Suspect(difference, pair, ends, _source_state(canonical, pair), _copy_state(canonical, pair))
    if before is None or suspect.copy_state != before.copy_state:
        return suspect
    unmoved = suspect.source_state == before.source_state
    return replace(suspect, since=before.since + 1 if unmoved else 1, copy_since=before.copy_since + 1)


def _source_state(canonical: CanonicalRow, pair: RowPair) -> Hashable:
    row = pair.source
    if row is None:
        return None
    return row.problem if row.values is None else canonical.text(row.key, row.values)


def _copy_state(canonical: CanonicalRow, pair: RowPair) -> Hashable:
    row = pair.copy
    if row is None:
        return None
    return row.version, None if row.values is None else canonical.text(row.key, row.values)
