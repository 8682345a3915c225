"""Compares ranges of every route all the time, at a slow pace, the one with the oldest proof first.

One process of the system does it, as long as it holds a named lock of MySQL. After a comparison it pauses, so that
comparisons take no more than a settable share of a core; each works in one thread of the service and of both servers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service_kit.error_texts import error_reason
from service_kit.kafka import KafkaClients
from service_kit.mysql import server_lock
from sync_service.proof.cost import ComparisonCost
from sync_service.proof.ranges import ProvenRanges, RangeChange
from sync_service.proof.store import ProofStore
from sync_service.reconciliation.compare import Comparison, ComparisonOptions
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.settings import Settings
from sync_service.sinks.base import Unavailable
from sync_service.sinks.comparison_target import ComparisonTarget
from sync_service.sinks.registry import ComparisonStores
from sync_service.sinks.rows import Bound, CannotCompare, KeyRange

log = structlog.get_logger(__name__)

ROWS_IN_A_RANGE = 2000
# A proof that is younger is not repeated.
PROOF_SECONDS = 60.0
# Between two looks at a route that can't be compared, or whose proofs are young.
IDLE_SECONDS = 5.0
# Between two looks at a route that does not work, or whose topic lacks rows.
WAITING_SECONDS = 1.0
ESTIMATE_SECONDS = 60.0
PATIENCE_SECONDS = 10.0
# A route with more events that wait is not compared: its copy is not expected to be equal.
MOST_WAITING = 1000
# The lock is released after this time, so that a process whose connection was lost notices it.
LEADER_SECONDS = 300.0
LOCK_SECONDS = 10.0


class RouteProver:
    """Proves one route: run `step` again and again."""

    def __init__(
        self,
        route: Route,
        store: ProofStore,
        target: ComparisonTarget,
        topic: TopicProgress,
        *,
        repair: bool,
        is_in_force: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_in_force`: does the service still have this definition of the route?"""
        self._route = route
        self._store = store
        self._target = target
        self._topic = topic
        self._is_in_force = is_in_force
        self._options = ComparisonOptions(repair=repair)
        self._cost = ComparisonCost()
        self._ranges: ProvenRanges | None = None
        self._looked_at = float("-inf")
        # The numbers of ranges whose rows changed while they were compared. The others are compared before them.
        self._unsettled: set[int] = set()
        self._repeats = False

    async def step(self, rows_in_a_range: int = ROWS_IN_A_RANGE) -> float | None:
        """Compare the range whose proof is the oldest. None if no proof is old enough.

        Returns the cost of the comparison in seconds, without that of rows that differ, which is mostly waiting.
        Raises `CannotCompare`, `Unavailable`.
        """
        if self._ranges is None:
            self._ranges = await self._store.load(self._route)
        begun = await self._store.now()
        place = self._next(self._ranges, begun)
        if self._is_young(place, begun):
            return None
        await self._look_at_route(self._ranges)
        await self._split(self._ranges, place, rows_in_a_range)
        cpu = time.thread_time()
        report = await self._compare(self._ranges, place)
        cpu = time.thread_time() - cpu
        if report is not None:
            await self._note(self._ranges, place, report, begun)
        await self._merge(self._ranges, place, rows_in_a_range)
        if report is None:
            return 0.0
        return self._cost.seconds(report.rows, report.seconds - report.rechecking_seconds, cpu)

    def _next(self, ranges: ProvenRanges, now: datetime) -> int:
        """The place of the range to compare.

        Every other time it is one with rows that differ: they may have been on their way, or are repaired by now.
        """
        self._repeats = not self._repeats
        if self._repeats and (place := ranges.oldest_different()) is not None and not self._is_young(place, now):
            return place
        place = ranges.oldest(self._unsettled)
        if self._is_young(place, now) and self._unsettled:
            self._unsettled.clear()
            place = ranges.oldest()
        return place

    def _is_young(self, place: int, now: datetime) -> bool:
        proven_at = self._ranges[place].proven_at if self._ranges else None
        return proven_at is not None and (now - proven_at).total_seconds() < PROOF_SECONDS

    async def _look_at_route(self, ranges: ProvenRanges) -> None:
        """Raises `CannotCompare` if too many events wait."""
        if time.monotonic() - self._looked_at < ESTIMATE_SECONDS:
            return
        source_rows, waiting = await self._target.source.estimate(), await self._topic.waiting()
        if waiting > MOST_WAITING:
            raise CannotCompare(f"more than {MOST_WAITING:,} events wait to be applied")
        await self._store.note(self._route.name, source_rows=source_rows)
        self._looked_at = time.monotonic()
        if ranges.proven_since is None or not self._is_in_force():
            return
        if await self._store.end_doubt(self._route, ranges.proven_since):
            log.info("every row is proven: the copy is no longer in doubt", route=self._route.name, notable=True)

    async def _split(self, ranges: ProvenRanges, place: int, rows: int) -> None:
        """Cut off the beginning of a range with too many rows, as the source has them now."""
        source, old = self._target.source, ranges[place]
        lower, upper = self._bound(ranges.lower(place)), self._bound(old.upper)
        is_unknown = old.upper is None and old.proven_at is None
        if is_unknown or await source.next_bound(lower, 2 * rows, upper) is not None:
            bound = await source.next_bound(lower, rows, upper)
            if bound is not None:
                await self._change(ranges.split(place, source.stored_bound(bound), rows))

    async def _merge(self, ranges: ProvenRanges, place: int, rows: int) -> None:
        """Merge a range with the next one if both are small, or if its bound is none of this source any more."""
        if place + 1 == len(ranges):
            return
        is_small = ranges[place].rows + ranges[place + 1].rows <= rows // 2 and ranges[place + 1].proven_at is not None
        if is_small or self._bound(ranges[place].upper) is None:
            await self._change(ranges.merge(place))

    async def _compare(self, ranges: ProvenRanges, place: int) -> RouteReport | None:
        """None if it has no bound any more, or rows of it changed all the time. Raises `CannotCompare`."""
        lower, upper = self._bound(ranges.lower(place)), self._bound(ranges[place].upper)
        if upper is None and ranges[place].upper is not None:
            return None
        comparison = Comparison(self._route, self._target, self._topic, self._options, only=KeyRange(lower, upper))
        report = await comparison.run()
        if report.is_lagging:
            raise CannotCompare("the sync makes no progress with its events")
        if report.unsettled:
            # A row may change all the time: the other ranges must not wait for it.
            self._unsettled.add(ranges[place].number)
            return None
        self._unsettled.discard(ranges[place].number)
        return report

    async def _note(self, ranges: ProvenRanges, place: int, report: RouteReport, begun: datetime) -> None:
        different = report.found - report.mended
        if different > ranges[place].different:
            log.error("the copy differs from its source", route=self._route.name, rows=different, notable=True)
        elif report.mended:
            log.warning("rows of the copy are repaired", route=self._route.name, rows=report.mended, notable=True)
        await self._change(ranges.note(place, rows=report.rows, different=different, proven_at=begun))

    async def _change(self, change: RangeChange) -> None:
        """If it is not known to be stored, the ranges are loaded again. Raises `Unavailable`."""
        try:
            await self._store.change(self._route.name, change)
        except BaseException:
            self._ranges = None
            raise

    def _bound(self, stored: bytes | None) -> Bound | None:
        return None if stored is None else self._target.source.bound_of(stored)


class Prover:
    """Proves the routes that may be compared, in turn. `is_applied` tells by its topic whether a route works.

    `routes` returns those in force: the same object until they are replaced. `incomplete` returns which of these topics
    lack rows of their sources, and why: their copies are not expected to be equal.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Callable[[], Sequence[Route]],
        is_applied: Callable[[str], bool],
        incomplete: Callable[[Sequence[str]], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._is_applied = is_applied
        self._incomplete = incomplete
        self._pause_factor = (1 - settings.sync_proof_share) / settings.sync_proof_share
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Runs until it is cancelled."""
        mysql, mongodb = (each.get_secret_value() for each in (self._settings.mysql_url, self._settings.mongodb_url))
        async with AsyncExitStack() as cleanup:
            stores = ComparisonStores(mysql, mongodb)
            cleanup.push_async_callback(stores.close)
            name = f"prove copies {stores.engine.url.database}"[:64]
            while True:
                try:
                    async with server_lock(stores.engine, name, 0):
                        await self._prove_for(LEADER_SECONDS, stores)
                except (TimeoutError, SQLAlchemyError, OSError) as error:
                    log.debug("this process proves no copies", reason=type(error).__name__)
                await asyncio.sleep(LOCK_SECONDS)

    async def _prove_for(self, duration: float, stores: ComparisonStores) -> None:
        store, ends, routes = ProofStore(stores.engine), time.monotonic() + duration, self._routes()
        async with AsyncExitStack() as cleanup:
            provers: dict[str, RouteProver] = {}
            due_at = dict.fromkeys((route.name for route in routes), 0.0)
            while time.monotonic() < ends and self._routes() is routes:
                due = [route for route in routes if due_at[route.name] <= time.monotonic()]
                incomplete = await self._incomplete([route.topic for route in due]) if due else {}
                for route in due:
                    if self._routes() is not routes:
                        break
                    due_at[route.name] = time.monotonic() + WAITING_SECONDS
                    if not self._is_applied(route.topic):
                        continue
                    if (reason := incomplete.get(route.topic)) is not None:
                        await self._report(route, store, reason)
                        continue
                    seconds = await self._step(route, provers, store, stores, cleanup)
                    due_at[route.name] = time.monotonic() + IDLE_SECONDS if seconds is None else 0.0
                    await asyncio.sleep((seconds or 0.0) * self._pause_factor)
                await asyncio.sleep(0.1)

    async def _step(
        self,
        route: Route,
        provers: dict[str, RouteProver],
        store: ProofStore,
        stores: ComparisonStores,
        cleanup: AsyncExitStack,
    ) -> float | None:
        try:
            if route.name not in provers:
                provers[route.name] = await self._prover(route, store, stores, cleanup)
            seconds = await provers[route.name].step()
        except (CannotCompare, Unavailable) as error:
            await self._report(route, store, str(error))
            return None
        except Exception as error:
            # A row that nothing expects must not keep the other routes from it.
            log.exception("a copy can't be proven", route=route.name)
            await self._report(route, store, f"unexpected error: {error_reason(error)}")
            return None
        self._problems.pop(route.name, None)
        return seconds

    async def _prover(
        self, route: Route, store: ProofStore, stores: ComparisonStores, cleanup: AsyncExitStack
    ) -> RouteProver:
        target = await stores.open_target(route)
        progress = TopicProgress(
            KafkaClients.of(self._settings), route.topic, self._settings.sync_group_id, patience=PATIENCE_SECONDS
        )
        topic = await cleanup.enter_async_context(progress)
        return RouteProver(
            route,
            store,
            target,
            topic,
            repair=self._settings.sync_proof_repair,
            is_in_force=lambda: any(each is route for each in self._routes()),
        )

    async def _report(self, route: Route, store: ProofStore, problem: str) -> None:
        if self._problems.get(route.name) == problem:
            return
        self._problems[route.name] = problem
        log.warning("the copy can't be proven at the moment", route=route.name, reason=problem)
        try:
            await store.report(route.name, problem)
        except Unavailable as error:
            log.debug("the problem is not stored", reason=str(error))
