"""Compares a copy with its source, and repairs it on request.

The keys of the source are walked in ranges. Both sides compute a checksum of each range, and only where they differ are
the rows compared one by one. Rows that differ are suspects until they are rechecked (`recheck`). So the memory in use
is that of one range and of `SUSPECTS_AT_ONCE` rows, whatever the size of the stores.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from sync_service.apply.changes import Key
from sync_service.reconciliation.differences import Difference, DifferenceKind, RowPair
from sync_service.reconciliation.recheck import ConfirmedDifference, read_pairs, recheck
from sync_service.reconciliation.repair import NO_EVENT, repair_change, write_repairs
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.sinks.comparison_target import ComparisonTarget
from sync_service.sinks.rows import Bound, KeyRange

ROWS_IN_A_RANGE = 5000
SUSPECTS_AT_ONCE = 10_000
# Concurrent ranges: while one side computes the checksum of one, the other does so for the next.
RANGES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """`sample` is the number of random ranges to compare; None for all."""

    repair: bool = False
    sample: int | None = None
    rows_in_a_range: int = ROWS_IN_A_RANGE


class Comparison:
    """Compares one route once. `on_progress` gets the number of compared rows and the estimated total."""

    def __init__(
        self,
        route: Route,
        target: ComparisonTarget,
        topic: TopicProgress,
        options: ComparisonOptions,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._target = target
        self._topic = topic
        self._options = options
        self._on_progress = on_progress
        self._suspects: set[Key] = set()
        self._rechecking = asyncio.Lock()
        self.report = RouteReport(route.name, *target.names, is_sample=options.sample is not None)

    async def run(self) -> RouteReport:
        """Raises `CannotCompare`."""
        begun = time.monotonic()
        total = await self._target.source.estimate()
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
        if self._target.canonical.is_exact_in_sql:
            source, copy = await asyncio.gather(
                self._target.source.checksum(key_range), self._target.copy.checksum(key_range)
            )
            if source == copy:
                return source.count
        return await self._compare_rows(key_range)

    async def _compare_rows(self, key_range: KeyRange) -> int:
        canonical = self._target.canonical
        sources = await self._target.source.rows(key_range)
        for row in sources:
            if row.has_no_key:
                self.report.note(Difference(DifferenceKind.UNFIT, row.key, reason=row.problem), "different")
        unseen = {row.key: row for row in sources if not row.has_no_key}
        async for page in self._target.copy.pages(key_range):
            for copy in page:
                source = unseen.pop(copy.key, None)
                if RowPair(copy.key, source, copy).difference(canonical) is not None:
                    self._suspects.add(copy.key)
            if len(self._suspects) >= SUSPECTS_AT_ONCE:
                await self._recheck()
        self._suspects.update(unseen)
        return len(sources)

    async def _recheck(self) -> None:
        """One recheck at a time, although ranges are compared concurrently: they share the consumer of the topic."""
        async with self._rechecking:
            await self._recheck_suspects()

    async def _recheck_suspects(self) -> None:
        suspects, self._suspects = self._suspects, set()
        result = await recheck(self._target, self._topic, suspects)
        self.report.is_lagging |= result.is_lagging
        for difference in result.unsettled:
            self.report.note(difference, "unsettled")
        if self._options.repair:
            await self._repair(result.confirmed)
        else:
            for confirmed in result.confirmed:
                self.report.note(confirmed.difference, "different")

    async def _repair(self, found: list[ConfirmedDifference]) -> None:
        """A row counts as repaired only if it is found equal afterwards."""
        changes = []
        for ends in {id(confirmed.ends): confirmed.ends for confirmed in found}.values():
            newest = await self._topic.newest(ends)
            changes += [repair_change(confirmed, newest) for confirmed in found if confirmed.ends is ends]
        refused = await write_repairs(self._target.sink, [change for change in changes if change is not None])
        after = {
            pair.key: pair for pair in await read_pairs(self._target, [confirmed.difference.key for confirmed in found])
        }
        for confirmed in found:
            difference, pair = confirmed.difference, after[confirmed.difference.key]
            if pair.difference(self._target.canonical) is None:
                self.report.note(difference, "mended")
            elif difference.key in refused or difference.kind is DifferenceKind.UNFIT:
                self.report.note(difference, "not-mended", refused.get(difference.key))
            elif _is_untouched(confirmed.pair, pair):
                self.report.note(difference, "not-mended", "the copy does not keep the repaired row")
            else:
                self.report.note(difference, "unsettled")


def _is_untouched(before: RowPair, after: RowPair) -> bool:
    """Has nothing but the repair changed the row in between?"""
    events = [
        pair.copy.version.event if pair.copy is not None and pair.copy.version is not None else NO_EVENT
        for pair in (before, after)
    ]
    return events[0] == events[1] and before.source == after.source
