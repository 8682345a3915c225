"""Compares a copy with its source, and repairs it on request.

The keys of the source are walked in ranges. Both sides compute a checksum of each range, and only where they differ are
the rows compared one by one. Rows that differ are suspects until they are rechecked (`recheck`). So the memory in use
is that of one range, of `SUSPECTS_AT_ONCE` rows and of the keys to repair, whatever the size of the stores.

Nothing is repaired before everything is compared. If so many rows differ that the cause is not in single rows, such as
a wrong source or a fault of the comparison, nothing is changed at all.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sync_service.apply.changes import Key
from sync_service.reconciliation.differences import Difference, DifferenceKind, RowPair
from sync_service.reconciliation.recheck import (
    PAUSES_SECONDS,
    ConfirmedDifference,
    Suspects,
    read_pairs,
    recheck,
)
from sync_service.reconciliation.repair import NO_EVENT, repair_change, write_repairs
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.sinks.comparison_target import ComparisonTarget
from sync_service.sinks.rows import Bound, KeyRange, SourceRow

ROWS_IN_A_RANGE = 5000
SUSPECTS_AT_ONCE = 10_000
# Concurrent ranges: while one side computes the checksum of one, the other does so for the next.
RANGES_AT_ONCE = 2


# The most rows that a repair changes, unless the request says otherwise: a share of the compared rows, within limits.
DEFAULT_REPAIRS_SHARE = 0.01
DEFAULT_REPAIRS_LEAST = 10
DEFAULT_REPAIRS_MOST = 1000


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """`sample` is the number of random ranges to compare; None for all.

    If more than `max_repairs` rows would be repaired, none is; None for the default. `repaired` are the kinds of
    differences that a repair mends. `pauses` are those of `recheck`.
    """

    repair: bool = False
    sample: int | None = None
    rows_in_a_range: int = ROWS_IN_A_RANGE
    max_repairs: int | None = None
    repaired: Collection[DifferenceKind] = frozenset(DifferenceKind)
    pauses: Sequence[float] = PAUSES_SECONDS

    def repairs_allowed(self, rows: int) -> int:
        """The limit for a comparison of this many source rows."""
        if self.max_repairs is not None:
            return self.max_repairs
        return min(DEFAULT_REPAIRS_MOST, max(DEFAULT_REPAIRS_LEAST, int(rows * DEFAULT_REPAIRS_SHARE)))


class Comparison:
    """Compares one route once, or `only` one range of it.

    `on_progress` gets the number of compared rows and the estimated total, `on_repairs` the number of rows to repair
    and the most that are allowed, before any is repaired.
    """

    def __init__(
        self,
        route: Route,
        target: ComparisonTarget,
        topic: TopicProgress,
        options: ComparisonOptions,
        *,
        only: KeyRange | None = None,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        on_repairs: Callable[[int, int], None] = lambda _planned, _allowed: None,
    ) -> None:
        self._target = target
        self._topic = topic
        self._options = options
        self.only = only
        self._on_progress = on_progress
        self._on_repairs = on_repairs
        self._suspects: dict[Key, list[Any]] = {}
        self._repairable: dict[Key, tuple[Difference, Sequence[Any]]] = {}
        # Those beyond the number of keys that can be needed. They are noted already.
        self._too_many = 0
        self._rechecking = asyncio.Lock()
        self.report = RouteReport(route.name, *target.names, is_sample=options.sample is not None)

    async def run(self) -> RouteReport:
        """Raises `CannotCompare`."""
        begun = time.monotonic()
        total = 0 if self.only else await self._target.source.estimate()
        if self._options.sample is not None:
            total = min(total, self._options.sample * self._options.rows_in_a_range)
        self._on_progress(0, total)
        async with aclosing(self._compared()) as compared:
            async for rows in compared:
                self.report.rows += rows
                self._on_progress(self.report.rows, total)
                if len(self._suspects) >= SUSPECTS_AT_ONCE:
                    await self._recheck()
        await self._recheck()
        if self._options.repair:
            await self._repair_all()
        self.report.seconds = time.monotonic() - begun
        return self.report

    async def _compared(self) -> AsyncGenerator[int]:
        """The number of source rows in each compared range."""
        running: set[asyncio.Task[int]] = set()
        try:
            async for key_range in self._ranges():
                running.add(asyncio.create_task(self._compare(key_range)))
                if len(running) >= RANGES_AT_ONCE:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
            for task in list(running):
                yield await task
                running.discard(task)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _ranges(self) -> AsyncIterator[KeyRange]:
        if self.only is not None:
            yield self.only
            return
        if self._options.sample is None:
            async for key_range in self._walk():
                yield key_range
            return
        # Reservoir sampling: all ranges have the same probability.
        chosen: list[KeyRange] = []
        number = 0
        async for key_range in self._walk():
            number += 1
            if len(chosen) < self._options.sample:
                chosen.append(key_range)
            elif (place := random.randrange(number)) < self._options.sample:  # noqa: S311 - a sample, not a secret
                chosen[place] = key_range
        for key_range in chosen:
            yield key_range

    async def _walk(self) -> AsyncIterator[KeyRange]:
        """Ranges that together contain every possible key of both sides."""
        lower: Bound | None = None
        while upper := await self._target.source.next_bound(lower, self._options.rows_in_a_range):
            yield KeyRange(lower, upper)
            lower = upper
        yield KeyRange(lower, None)

    async def _compare(self, key_range: KeyRange) -> int:
        if self._target.is_selective:
            return await self._compare_selected(key_range)
        if self._target.canonical.is_exact_in_sql:
            source, copy = await asyncio.gather(
                self._target.source.checksum(key_range), self._target.copy.checksum(key_range)
            )
            if source == copy:
                return source.count
        return await self._compare_rows(key_range)

    async def _compare_selected(self, key_range: KeyRange) -> int:
        """The copy's other rows may be those that do not meet the condition."""
        sources = await self._target.source.rows(key_range)
        rows = self._by_key(sources)
        copies = await self._target.copy.look_up(rows)
        for key, its_rows in rows.items():
            if RowPair.of(key, its_rows, copies.get(key)).difference(self._target.canonical) is not None:
                self._suspect(key, its_rows)
        return len(sources)

    def _by_key(self, sources: Sequence[SourceRow]) -> dict[Key, list[SourceRow]]:
        """Without rows that have no key, which are noted."""
        found: dict[Key, list[SourceRow]] = {}
        for row in sources:
            if row.has_no_key:
                self.report.note(Difference(DifferenceKind.UNFIT, row.key, reason=row.problem), "different")
            else:
                found.setdefault(row.key, []).append(row)
        return found

    async def _compare_rows(self, key_range: KeyRange) -> int:
        canonical = self._target.canonical
        sources = await self._target.source.rows(key_range)
        unseen = self._by_key(sources)
        async for page in self._target.copy.pages(key_range):
            for copy in page:
                rows = unseen.pop(copy.key, [])
                if RowPair.of(copy.key, rows, copy).difference(canonical) is not None:
                    self._suspect(copy.key, rows)
            if len(self._suspects) >= SUSPECTS_AT_ONCE:
                await self._recheck()
        for key, rows in unseen.items():
            self._suspect(key, rows)
        return len(sources)

    def _suspect(self, key: Key, rows: Sequence[SourceRow]) -> None:
        self._suspects.setdefault(key, []).extend(row.native for row in rows)

    async def _recheck(self) -> None:
        """One recheck at a time, although ranges are compared concurrently: they share the consumer of the topic."""
        async with self._rechecking:
            await self._recheck_suspects()

    async def _recheck_suspects(self) -> None:
        suspects, self._suspects = self._suspects, {}
        for confirmed in await self._confirmed(suspects):
            self._note(confirmed.difference, suspects)

    async def _confirmed(self, suspects: Suspects) -> list[ConfirmedDifference]:
        """Recheck rows. Those that still change are noted."""
        begun = time.monotonic()
        result = await recheck(self._target, self._topic, suspects, self._options.pauses)
        self.report.rechecking_seconds += time.monotonic() - begun
        self.report.is_lagging |= result.is_lagging
        for difference in result.unsettled:
            self.report.note(difference, "unsettled")
        return result.confirmed

    def _note(self, difference: Difference, suspects: Suspects) -> None:
        """Note a difference, or keep it to be repaired."""
        if not self._options.repair or difference.kind not in self._options.repaired:
            self.report.note(difference, "different")
        elif difference.kind is DifferenceKind.UNFIT:
            self.report.note(difference, "not-mended")
        elif len(self._repairable) <= (self._options.max_repairs or DEFAULT_REPAIRS_MOST):
            self._repairable[difference.key] = difference, suspects[difference.key]
        else:
            self.report.note(difference, "different")
            self._too_many += 1

    async def _repair_all(self) -> None:
        """Repair what was found, if it is not too much."""
        planned, allowed = len(self._repairable) + self._too_many, self._options.repairs_allowed(self.report.rows)
        self.report.repairs_planned, self.report.repairs_allowed = planned, allowed
        if planned:
            self._on_repairs(planned, allowed)
        if planned > allowed:
            for difference, _ in self._repairable.values():
                self.report.note(difference, "different")
            return
        # The comparison may have taken long: the rows are read again.
        repairable = [(key, natives) for key, (_, natives) in self._repairable.items()]
        for start in range(0, len(repairable), SUSPECTS_AT_ONCE):
            await self._repair(await self._confirmed(dict(repairable[start : start + SUSPECTS_AT_ONCE])))

    async def _repair(self, found: list[ConfirmedDifference]) -> None:
        """A row counts as repaired only if it is found equal afterwards."""
        changes = []
        for ends in {id(confirmed.ends): confirmed.ends for confirmed in found}.values():
            newest = await self._topic.newest(ends)
            changes += [repair_change(confirmed, newest) for confirmed in found if confirmed.ends is ends]
        refused = await write_repairs(self._target.sink, [change for change in changes if change is not None])
        keys = {confirmed.pair.key: _natives(confirmed.pair) for confirmed in found}
        after = {pair.key: pair for pair in await read_pairs(self._target, keys)}
        for confirmed in found:
            difference, pair = confirmed.difference, after[confirmed.difference.key]
            left = pair.difference(self._target.canonical)
            if difference.key in refused or difference.kind is DifferenceKind.UNFIT:
                self.report.note(difference, "not-mended", refused.get(difference.key))
            elif left is None or left.kind is DifferenceKind.UNFIT:
                # (What is left is about other rows of the source with this key.)
                self.report.note(difference, "mended")
            elif _is_untouched(confirmed.pair, pair):
                self.report.note(difference, "not-mended", "the copy does not keep the repaired row")
            else:
                self.report.note(difference, "unsettled")


def _natives(pair: RowPair) -> Sequence[Any]:
    return [row.native for row in (pair.source, *pair.others) if row is not None]


def _is_untouched(before: RowPair, after: RowPair) -> bool:
    """Has nothing but the repair changed the row in between?"""
    events = [
        pair.copy.version.event if pair.copy is not None and pair.copy.version is not None else NO_EVENT
        for pair in (before, after)
    ]
    return events[0] == events[1] and before.source == after.source
