"""Compares a copy with its source, and mends it if asked to.

The source's keys are walked in ranges. Of each range both sides are asked for a checksum, and only where these differ
the rows are compared, one by one. What differs then is suspect until it has settled (`settling`). So the memory it
takes is that of a range and of `SUSPECTS_AT_ONCE` rows, whatever is in the stores.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from sync_service.apply.changes import Key
from sync_service.reconciliation.comparison_target import Sides
from sync_service.reconciliation.recheck import Lasting, look_at, settle
from sync_service.reconciliation.repair import NO_EVENT, mending, write
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.rows import Bound, Difference, KeyRange, Kind, Look
from sync_service.reconciliation.topic import Topic
from sync_service.routes.config import Route

ROWS_IN_A_RANGE = 5000
SUSPECTS_AT_ONCE = 10_000
# Ranges in work: while one side computes for one, the other does for the next.
RANGES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """`sample` is how many ranges are compared, chosen by chance; None for all."""

    repair: bool = False
    sample: int | None = None
    rows_in_a_range: int = ROWS_IN_A_RANGE


class Comparison:
    """Of one route, once. `on_progress` is told the rows compared so far, and about how many there are."""

    def __init__(
        self,
        route: Route,
        sides: Sides,
        topic: Topic,
        wanted: Wanted,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._sides = sides
        self._topic = topic
        self._wanted = wanted
        self._on_progress = on_progress
        self._suspects: set[Key] = set()
        self._settling = asyncio.Lock()
        self.report = RouteReport(route.name, *sides.names, is_sample=wanted.sample is not None)

    async def run(self) -> RouteReport:
        """Raises `CannotCompare`."""
        begun = time.monotonic()
        total = await self._sides.source.estimate()
        if self._wanted.sample is not None:
            total = min(total, self._wanted.sample * self._wanted.rows_in_a_range)
        self._on_progress(0, total)
        async with aclosing(self._compared()) as compared:
            async for rows in compared:
                self.report.rows += rows
                self._on_progress(self.report.rows, total)
                if len(self._suspects) >= SUSPECTS_AT_ONCE:
                    await self._settle()
        await self._settle()
        self.report.seconds = time.monotonic() - begun
        return self.report

    async def _compared(self) -> AsyncGenerator[int]:
        """How many rows of the source each range had."""
        running: set[asyncio.Task[int]] = set()
        try:
            async for within in self._ranges():
                running.add(asyncio.create_task(self._compare(within)))
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
        if self._wanted.sample is None:
            async for within in self._walk():
                yield within
            return
        # Reservoir sampling: each range is as likely to be chosen as any other.
        chosen: list[KeyRange] = []
        number = 0
        async for within in self._walk():
            number += 1
            if len(chosen) < self._wanted.sample:
                chosen.append(within)
            elif (place := random.randrange(number)) < self._wanted.sample:  # noqa: S311 - a sample, not a secret
                chosen[place] = within
        for within in chosen:
            yield within

    async def _walk(self) -> AsyncIterator[KeyRange]:
        """Ranges that together hold every key there can be, on either side."""
        lower: Bound | None = None
        while upper := await self._sides.source.bound_behind(lower, self._wanted.rows_in_a_range):
            yield KeyRange(lower, upper)
            lower = upper
        yield KeyRange(lower, None)

    async def _compare(self, within: KeyRange) -> int:
        if self._sides.canonical.is_exact_in_sql:
            source, copy = await asyncio.gather(self._sides.source.checksum(within), self._sides.copy.checksum(within))
            if source == copy:
                return source.count
        return await self._compare_rows(within)

    async def _compare_rows(self, within: KeyRange) -> int:
        canonical = self._sides.canonical
        sources = await self._sides.source.rows(within)
        for row in sources:
            if row.has_no_key:
                self.report.note(Difference(Kind.UNFIT, row.key, reason=row.problem), "different")
        unseen = {row.key: row for row in sources if not row.has_no_key}
        async for page in self._sides.copy.pages(within):
            for copy in page:
                source = unseen.pop(copy.key, None)
                if Look(copy.key, source, copy).difference(canonical) is not None:
                    self._suspects.add(copy.key)
            if len(self._suspects) >= SUSPECTS_AT_ONCE:
                await self._settle()
        self._suspects.update(unseen)
        return len(sources)

    async def _settle(self) -> None:
        """One at a time, though several ranges may ask for it: the topic has one consumer, which is sent from place to
        place for each answer.
        """
        async with self._settling:
            await self._settle_suspects()

    async def _settle_suspects(self) -> None:
        suspects, self._suspects = self._suspects, set()
        settled = await settle(self._sides, self._topic, suspects)
        self.report.is_lagging |= settled.is_lagging
        for difference in settled.unsettled:
            self.report.note(difference, "unsettled")
        if self._wanted.repair:
            await self._mend(settled.lasting)
        else:
            for lasting in settled.lasting:
                self.report.note(lasting.difference, "different")

    async def _mend(self, found: list[Lasting]) -> None:
        """Only what is found alike afterwards counts as mended."""
        changes = []
        for ends in {id(lasting.ends): lasting.ends for lasting in found}.values():
            newest = await self._topic.newest(ends)
            changes += [mending(lasting, newest) for lasting in found if lasting.ends is ends]
        refused = await write(self._sides.sink, [change for change in changes if change is not None])
        after = {look.key: look for look in await look_at(self._sides, [lasting.difference.key for lasting in found])}
        for lasting in found:
            difference, look = lasting.difference, after[lasting.difference.key]
            if look.difference(self._sides.canonical) is None:
                self.report.note(difference, "mended")
            elif difference.key in refused or difference.kind is Kind.UNFIT:
                self.report.note(difference, "not-mended", refused.get(difference.key))
            elif _is_untouched(lasting.look, look):
                self.report.note(difference, "not-mended", "the copy does not keep what is written to it")
            else:
                self.report.note(difference, "unsettled")


def _is_untouched(before: Look, after: Look) -> bool:
    """Has only the repair been here in between?"""
    events = [
        look.copy.version.event if look.copy is not None and look.copy.version is not None else NO_EVENT
        for look in (before, after)
    ]
    return events[0] == events[1] and before.source == after.source
