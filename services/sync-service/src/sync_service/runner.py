"""Runs the sync: prepares the copies, consumes, and ends the process if it can't continue.

A route that can't go on stops alone (`kafka.stops`); the process and the other routes continue.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.background import OnFailure, Supervisor
from service_kit.error_texts import error_message
from service_kit.kafka import KafkaClients
from service_kit.mysql import migrate
from service_kit.retry import Backoff, Cancelled, Retrier
from sync_service.apply.processor import Record, RouteProcessor
from sync_service.dead_letters.erasure import DeadLetterErasure
from sync_service.dead_letters.limits import DeadLetterLimits
from sync_service.dead_letters.router import DeadLetterRouter
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.kafka.applied_events import applied_events
from sync_service.kafka.clients import is_answering
from sync_service.kafka.erasure import ErasedOffsets, TopicErasure
from sync_service.kafka.gaps import REMEDY, Cause, Gap, Gaps
from sync_service.kafka.group import ConsumerGroupMember
from sync_service.kafka.lag import WATCHDOG_CLIENT_ID
from sync_service.kafka.members import has_only_marked_members
from sync_service.kafka.pauses import Registration
from sync_service.kafka.progress import Progress
from sync_service.kafka.stops import Stop, Stops
from sync_service.metrics import SyncMetrics
from sync_service.monitoring.watchdog import Watchdog
from sync_service.proof.store import Proof, ProofStore
from sync_service.routes.changes import RouteChanges, is_same
from sync_service.routes.config import Route
from sync_service.routes.exclusion import ExcludedFields
from sync_service.settings import Settings
from sync_service.sinks.base import RouteRefused, Unavailable
from sync_service.sinks.mysql.errors import start_problem
from sync_service.sinks.mysql.schema import migrations_folder, require_grants
from sync_service.sinks.registry import Stores, change_schemas
from sync_service.source_watch.watch import SourceWatch
from sync_service.statistics import NOT_PREPARED, RouteStatistics
from sync_service.views import make_views_once_possible

log = structlog.get_logger(__name__)

WATCH_SECONDS = 2.0
# A partition without progress for this time makes the service not ready.
STUCK_SECONDS = 10.0
PURGE_SECONDS = 3600.0
GAPS_SECONDS = 5.0
# Between two checks of the sources for changes without events.
SOURCES_SECONDS = 5.0
# A topic has many partitions, each with a reason of its own.
_REASONS_NAMED = 2
# Another process notices a stop or a resume after this time at the latest.
STOPS_SECONDS = 2.0
# Until writes that are under way end.
HOLD_SECONDS = 0.1
ERASURE_SECONDS = 30.0


class Preparation(Enum):
    """What became of the attempt to prepare a copy. `LATER`: a server did not answer."""

    PREPARED = auto()
    REFUSED = auto()
    LATER = auto()


class _Replacement:
    """Routes, with their processors by topic, that wait until the member has left the group."""

    def __init__(self, routes: Sequence[Route], processors: Mapping[str, RouteProcessor]) -> None:
        self.routes = routes
        self.processors = processors
        self._taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        """Until the routes are in force. Raises the error of `fail`."""
        await asyncio.shield(self._taken)

    def finish(self) -> None:
        self._taken.set_result(None)

    def fail(self, error: Exception) -> None:
        self._taken.set_exception(error)
        # Retrieved here in case the caller is gone.
        self._taken.exception()


class SyncRunner:
    """Runs until `stop`. `problem` is None while all assigned events are applied.

    `routes` are those in force, `processors` theirs by topic. Both are replaced, never changed (`replace_routes`).
    `on_replaced` is called with the new routes whenever that has happened.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Sequence[Route],
        metrics: SyncMetrics,
        supervisor: Supervisor,
        on_replaced: Callable[[Sequence[Route]], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._on_replaced = on_replaced
        self._supervisor = supervisor
        self.metrics = metrics
        self._stores = Stores(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
        self._kafka = kafka = KafkaClients.of(settings)
        self.dead_letters = DeadLetterWriter(kafka)
        self._dead_letter_reader = DeadLetterReader(kafka)
        self.routes: Sequence[Route] = tuple(routes)
        self.processors: Mapping[str, RouteProcessor] = {route.topic: self._processor(route) for route in routes}
        self.gaps = Gaps(self._stores.engine)
        self.stops = Stops(self._stores.engine)
        self._registration = Registration(self._stores.engine)
        # As of the latest refresh, by the name of the route.
        self.proofs: Mapping[str, Proof] = {}
        self._proof_store = ProofStore(self._stores.engine)
        self.member = self._new_member()
        self._source_watch: SourceWatch | None = None
        self._stopping = False
        self._replacement: _Replacement | None = None
        # Topics of routes whose copy is not prepared since the start, or since a replacement has added or changed them.
        self._changed_topics: set[str] = set()
        # Those that it has added, until their copies are looked at.
        self._added_topics: set[str] = set()
        self._watchdog = Watchdog()
        self._hanging_since: float | None = None
        self._preparing_copy = asyncio.Lock()
        # By topic.
        self._tasks_with_copy: Counter[str] = Counter()
        self._preparing = Retrier(
            on=(Unavailable, OperationalError, InterfaceError),
            backoff=Backoff(initial=0.1, maximum=5.0),
            on_failure=self._note_not_prepared,
        )
        self._not_prepared: str | None = "not prepared yet"
        metrics.begin(route.name for route in routes)
        metrics.observe_health(lambda: self.problem)

    def _new_member(self) -> ConsumerGroupMember:
        return ConsumerGroupMember(
            self._settings, self._kafka, self.processors, self.metrics, gaps=self.gaps, stops=self.stops
        )

    def _processor(self, route: Route) -> RouteProcessor:
        limits = DeadLetterLimits(
            self._settings.sync_dead_letters_max_consecutive, self._settings.sync_dead_letters_max_ratio
        )
        return RouteProcessor(
            route,
            self._stores.sink(route),
            DeadLetterRouter(
                route.name, self.dead_letters, self._dead_letter_reader, limits, ExcludedFields(route.excluded)
            ),
            RouteStatistics(route.name, self.metrics),
            rows_at_once=self._settings.sync_rows_at_once,
            record_doubt=self._record_doubt,
        )

    async def _record_doubt(self, record: Record, topic_id: str, cause: Cause, reason: str) -> None:
        """Raises `Unavailable`."""
        gap = Gap(record.topic, topic_id, record.partition, record.offset, record.offset + 1, reason, cause)
        name = self.processors[record.topic].route.name
        await self.gaps.record([gap])
        log.warning("the copy is in doubt", route=name, reason=str(gap), notable=True)

    @property
    def engine(self) -> AsyncEngine:
        """Of the service's own tables."""
        return self._stores.engine

    def is_applied(self, topic: str) -> bool:
        """Is there a route whose copy is prepared, and whose events are applied?"""
        processor = self.processors.get(topic)
        return processor is not None and not self.stops.is_stopped(topic) and processor.statistics.not_prepared is None

    @property
    def problem(self) -> str | None:
        """Why nothing, or not everything, is applied at the moment; None if everything is."""
        stuck = self._watchdog.stuck(STUCK_SECONDS)
        return (
            self._not_prepared
            or self._all_stopped
            # While it leaves the group and joins it again with other routes, the service is ready.
            or (self.member.problem if self._replacement is None else None)
            or "; ".join(self._blocked())
            or self.member.topics.problem
            or (f"Kafka: {self.member.group_problem}" if self.member.group_problem else None)
            or (f"no progress: {_format_stuck(stuck)}" if stuck else None)
        )

    @property
    def _all_stopped(self) -> str | None:
        """Routes that an operator has paused are no fault."""
        faults = self.stopped
        return (
            f"every route is stopped: {faults}" if faults and all(map(self.stops.is_stopped, self.processors)) else None
        )

    @property
    def stopped(self) -> str | None:
        """Which routes are stopped by a fault, and why; None if none."""
        return self._named("is stopped", self.stops.faults_of)

    @property
    def paused(self) -> str | None:
        """Which routes are paused, and by whom; None if none."""
        paused = [each for topic in self.processors if (each := self.stops.pause_of(topic))]
        named = [f"{self.processors[each.topic].route.name} is {each.reason}" for each in paused]
        return "; ".join(named) or None

    @property
    def doubts(self) -> str | None:
        """Which copies may lack rows although all events are applied; None if none."""
        return self._named("is in doubt", self.gaps.of)

    @property
    def differences(self) -> str | None:
        """Which copies have rows that differ from their source, as a comparison has found; None if none."""
        found = [
            f"{name}: {proof.different:,} rows differ from the source"
            for name, proof in self.proofs.items()
            if proof.different
        ]
        return "; ".join(found) or None

    @property
    def unwatched(self) -> str | None:
        """Which sources can't be watched for changes without events, and why; None if all can."""
        problems = {} if self._source_watch is None else self._source_watch.problems
        return "; ".join(f"{what} can't be watched: {reason}" for what, reason in problems.items()) or None

    def _named(self, state: str, reasons_of: Callable[[str], Sequence[object]]) -> str | None:
        """The routes in a state, with the reasons for each topic; None if no topic has any."""
        named = [
            f"{processor.route.name} {state}: {'; '.join(map(str, reasons[:_REASONS_NAMED]))}"
            + (f"; and {more} more" if (more := len(reasons) - _REASONS_NAMED) > 0 else "")
            for topic, processor in self.processors.items()
            if (reasons := reasons_of(topic))
        ]
        return "; ".join(named) or None

    def _blocked(self) -> list[str]:
        return [
            f"{processor.route.name}: {processor.statistics.blocked_by}"
            for topic, processor in self.processors.items()
            if processor.statistics.blocked_by and not self.stops.is_stopped(topic) and not self._is_new(processor)
        ]

    def _is_new(self, processor: RouteProcessor) -> bool:
        """Is its copy being prepared for the first time after a replacement?"""
        return processor.route.topic in self._changed_topics and processor.statistics.blocked_by == NOT_PREPARED

    async def run(self) -> None:
        """Returns after `stop`. Any other end must end the process, so that a dead sync does not look alive."""
        async with AsyncExitStack() as cleanup:
            cleanup.push_async_callback(self._stores.close)
            cleanup.push_async_callback(self._registration.close)
            cleanup.push_async_callback(self.dead_letters.close)
            try:
                await self._preparing.run(self._prepare)
                self._not_prepared = None
                make_views = partial(make_views_once_possible, self._stores.engine)
                async with (
                    self._supervisor.task("watchdog", self._watch, on_failure=OnFailure.EXIT),
                    self._supervisor.task("purge", self._purge),
                    self._supervisor.task("gaps", self._refresh_gaps),
                    self._supervisor.task("stops", self._refresh_stops),
                    self._supervisor.task("views", make_views, may_finish=True),
                ):
                    await self._run_member()
                    while self._replacement is not None and not self._stopping:
                        await self._take_over(self._replacement)
                        await self._run_member()
            except Cancelled:
                pass
            finally:
                if self._replacement is not None:
                    self._replacement.fail(Unavailable("sync-service: it ends"))

    async def _run_member(self) -> None:
        """Until it is stopped, with the tasks that belong to its set of routes."""
        async with (
            self._supervisor.task("sources", self._watch_sources),
            self._supervisor.task("moves", self._finish_moves, may_finish=True),
            self._supervisor.task("erasure", self._erase, may_finish=True),
        ):
            await self.member.run()

    def stop(self) -> None:
        self._stopping = True
        self._preparing.cancel()
        self.member.stop()

    async def replace_routes(self, routes: Sequence[Route]) -> RouteChanges:
        """Apply these routes from now on, and return what has changed.

        The member leaves the group as at a shutdown, and joins it again. Routes that stay the same keep their copies,
        offsets and statistics. Raises `Unavailable` before the copies were prepared once, and while the process ends.
        """
        changes = RouteChanges.between(self.routes, routes)
        if not changes:
            return changes
        if self._not_prepared or self._stopping:
            raise Unavailable(self._not_prepared or "sync-service: it ends")
        former = self.processors
        processors = {
            route.topic: former[route.topic]
            if route.topic in former and is_same(former[route.topic].route, route)
            else self._processor(route)
            for route in routes
        }
        self._replacement = replacement = _Replacement(tuple(routes), processors)
        self.member.stop()
        await replacement.wait()
        return changes

    async def _take_over(self, replacement: _Replacement) -> None:
        former = self.processors
        self.routes, self.processors = replacement.routes, replacement.processors
        self._on_replaced(self.routes)
        names = {route.name for route in self.routes}
        for removed in [each.route.name for each in former.values() if each.route.name not in names]:
            self.metrics.end(removed)
        self.metrics.begin(names)
        self._added_topics |= self.processors.keys() - former.keys()
        self._changed_topics = {
            topic
            for topic, each in self.processors.items()
            if topic in self._changed_topics or former.get(topic) is not each
        }
        ended, self.member = self.member, self._new_member()
        self.member.inherit_writes(ended)
        # Problems of the broker are reported from now on. Until the first answer there is none.
        self.member.problem = None
        self._replacement = None
        self.stops.wake()
        replacement.finish()
        await self._stores.keep(names)

    async def _prepare(self) -> None:
        """What all routes need, and then each route: the ones whose store does not answer are prepared later."""
        address = self._settings.mysql_url.get_secret_value()
        await require_grants(address)
        await migrate(address, migrations_folder())
        await self._read_gaps()
        await self._read_stops()
        self._changed_topics |= self.processors.keys()
        await self._prepare_changed()
        self._report_stops()

    async def _prepare_again(self, topic: str) -> None:
        """After a restart or a change a stopped route is tried again, unless only an operator can decide that.

        A paused route is prepared when it is resumed: an operator may be working on its copy. If a dependency does not
        answer, `_prepare_changed` repeats it. Raises `Unavailable`.
        """
        processor = self.processors.get(topic)
        with self._using_copy(topic):
            outcome = None if self.stops.pause_of(topic) is not None else await self._prepare_route(topic)
        if outcome is Preparation.PREPARED and processor is not None:
            await self._try_again(processor.route)
        # Unless the route has changed meanwhile.
        if outcome is not Preparation.LATER and self.processors.get(topic) is processor:
            self._changed_topics.discard(topic)

    async def _try_again(self, route: Route) -> None:
        for stop in await self.stops.try_again(route.topic):
            log.info("route is tried again after a restart", route=route.name, stopped_by=str(stop), notable=True)

    @contextmanager
    def _using_copy(self, topic: str) -> Iterator[None]:
        """This process holds no pause of the route meanwhile. In the block, look whether the route is stopped."""
        self._tasks_with_copy[topic] += 1
        try:
            yield
        finally:
            self._tasks_with_copy[topic] -= 1

    async def _prepare_route(self, topic: str) -> Preparation:
        """If the copy can't be prepared, the route stops."""
        if (processor := self.processors.get(topic)) is None:
            return Preparation.REFUSED
        try:
            # In the order of the routes: of two that need one name, the second stops.
            async with self._preparing_copy:
                is_empty = not await processor.sink.exists() or await processor.sink.was_replaced()
                if is_empty or topic in self._added_topics:
                    await self._doubt_copy(processor.route, is_empty=is_empty)
                self._added_topics.discard(topic)
                await self._change_schemas(processor.route)
            await processor.prepare()
        except Exception as error:
            if _is_of_dependency(error):
                processor.statistics.not_prepared = f"{error} (not prepared yet)"
                log.warning("the copy can't be prepared yet", route=processor.route.name, reason=str(error))
                return Preparation.LATER
            reason = f"the copy can't be prepared: {error_message(error)}"
            self.stops.note(Stop(topic, "not-prepared", reason, datetime.now(UTC)))
            log.exception("route stopped", route=processor.route.name, cause="not-prepared", reason=reason)
            return Preparation.REFUSED
        return Preparation.PREPARED

    async def _doubt_copy(self, route: Route, *, is_empty: bool) -> None:
        """Before the copy is prepared, if the group has applied events of the route before.

        An empty copy lacks them. One from an earlier time lacks the changes of the time without the route, in which
        nothing captured them: a snapshot brings the rows that are there, and not the deletes. Raises `KafkaError`,
        `Unavailable`.
        """
        if not (found := await applied_events(self._kafka, route.topic, self._settings.sync_group_id)):
            return
        if not is_empty:
            reason = "the route was not in the routes file for some time: deletes of that time may be missing"
            found = [Gap.of_source(route.topic, "unwatched", reason)]
        await self.gaps.record(found)
        log.warning("the copy is in doubt", route=route.name, reason=str(found[0]), way_on=REMEDY, notable=True)

    async def _change_schemas(self, route: Route) -> None:
        for statement in await change_schemas(self._settings.mysql_url.get_secret_value(), [route], apply=True):
            log.info("schema changed for a route", statement=statement, notable=True)

    def _note_not_prepared(self, error: Exception, _delay: float) -> None:
        self._not_prepared = f"not prepared yet: {start_problem(error)}"
        log.warning("the copies can't be prepared yet", reason=start_problem(error))

    async def _watch(self) -> None:
        """Measures the lag, and ends the process if events wait although all dependencies are up."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self._end_if_member_hangs()
            await self._observe_progress()
            await self._excuse_stalls_of_others()
            if stuck := self._watchdog.stuck_without_excuse(self._settings.sync_watchdog_seconds):
                self._supervisor.end(f"no progress: {_format_stuck(stuck)}")

    async def _end_if_member_hangs(self) -> None:
        """End the process if the member of the group makes no step although the broker answers all the time.

        Without partitions it has no progress to observe.
        """
        if self.member.idle_seconds < STUCK_SECONDS or not await is_answering(self._kafka, WATCHDOG_CLIENT_ID):
            self._hanging_since = None
            return
        self._hanging_since = self._hanging_since or time.monotonic()
        if time.monotonic() - self._hanging_since >= self._settings.sync_watchdog_seconds:
            seconds = f"{self.member.idle_seconds:.0f} s"
            self._supervisor.end(f"the member of the group has hung for {seconds}: {self.member.problem}")

    async def _observe_progress(self) -> None:
        """If the member's consumer has no answer, ask by a new connection: the consumer may be at fault.

        While the broker does not answer, time counts, too, because a hanging write does not wait for the broker.
        Partitions that do wait for it are excused later.
        """
        progress: Mapping[TopicPartition, Progress] = {}
        try:
            progress = await self.member.lag.progress()
        except KafkaError:
            if self.member.problem is None:
                try:
                    progress = await self.member.lag.progress_by_new_connection()
                except (KafkaError, OSError):
                    self._observe(self.member.lag.last_known_progress())
                    return
        self._observe(progress)
        self._measure_lag(progress)

    def _observe(self, progress: Mapping[TopicPartition, Progress]) -> None:
        """Without stopped routes: they make no progress, and this process is not at fault."""
        self._watchdog.observe({each: of for each, of in progress.items() if not self.stops.is_stopped(each.topic)})

    async def _excuse_stalls_of_others(self) -> None:
        """A stalled broker or store is no reason to end the process: another process would wait for it, too."""
        if self.member.problem is not None:
            self._watchdog.excuse()
            return
        blocked = {topic for topic, each in self.processors.items() if each.statistics.blocked_by}
        stuck = list(self._watchdog.stuck(STUCK_SECONDS))
        asked = [partition for partition in stuck if partition.topic not in blocked]
        ours = await asyncio.gather(*map(self.member.lag.stalls, asked))
        at_fault = {partition for partition, is_ours in zip(asked, ours, strict=True) if is_ours}
        if excused := [partition for partition in stuck if partition not in at_fault]:
            self._watchdog.excuse(*excused)

    async def _refresh_gaps(self) -> None:
        """Other processes record gaps, and comparisons delete them."""
        while True:
            await asyncio.sleep(GAPS_SECONDS)
            try:
                await self._read_gaps()
                await self._read_proofs()
            except Unavailable as error:
                log.debug("the gaps and proofs can't be read", reason=str(error))
            await self._replace_lost_copies()

    async def _watch_sources(self) -> None:
        self._source_watch = watch = self._stores.source_watch(self.routes, self._kafka, self.gaps)
        try:
            while True:
                try:
                    await self._stores.run_alone("watch sources", watch.check)
                except Unavailable as error:
                    log.debug("the sources can't be watched", reason=str(error))
                if (unfit := await watch.look_at_types()) is not None:
                    for topic, processor in self.processors.items():
                        processor.note_unfit_fields(unfit.get(topic, {}))
                await asyncio.sleep(SOURCES_SECONDS)
        finally:
            await watch.close()

    async def _replace_lost_copies(self) -> None:
        for topic, processor in self.processors.items():
            try:
                with self._using_copy(topic):
                    if not self.stops.is_stopped(topic) and await processor.sink.was_replaced():
                        await self._prepare_route(topic)
            except Unavailable as error:
                log.debug("it is not known whether the copy was dropped", reason=str(error))

    async def _read_proofs(self) -> None:
        proofs = await self._proof_store.proofs()
        names = {processor.route.name for processor in self.processors.values()}
        self.proofs = {name: proof for name, proof in proofs.items() if name in names}
        for name, proof in self.proofs.items():
            self.metrics.proven(name, proof.rows, proof.different, proof.share, proof.age_seconds)

    async def _read_gaps(self) -> None:
        await self.gaps.refresh()
        for topic, processor in self.processors.items():
            self.metrics.gaps.labels(processor.route.name).set(len(self.gaps.of(topic)))

    async def _refresh_stops(self) -> None:
        """Other processes stop and resume routes. After a resume the copy is prepared again: it may be at fault."""
        holds_all = True
        while True:
            await self.stops.wait(STOPS_SECONDS if holds_all else HOLD_SECONDS)
            try:
                holds_all = await self._read_stops()
                await self.member.settle_skips()
            except (Unavailable, KafkaError) as error:
                log.debug("the stopped routes can't be read", reason=str(error))
            self._report_stops()
            await self._prepare_changed()
            for topic, processor in self.processors.items():
                if self.stops.is_stopped(topic):
                    processor.statistics.not_prepared = processor.statistics.not_prepared or NOT_PREPARED
                elif processor.statistics.not_prepared is not None and topic not in self._changed_topics:
                    await self._prepare_route(topic)

    async def _read_stops(self) -> bool:
        """Returns whether this process holds all pauses. Raises `Unavailable`."""
        await self._registration.renew(self.processors, self.member.member_id)
        await self.stops.refresh()
        held = [
            pause
            for pause in self.stops.pauses
            if self.member.holds(pause.topic) and not self._tasks_with_copy[pause.topic]
        ]
        await self._registration.confirm(held)
        return len(held) == len(self.stops.pauses)

    async def _prepare_changed(self) -> None:
        """Prepare the copies of routes that are new or changed, each once."""

        async def prepare(topic: str) -> None:
            try:
                await self._prepare_again(topic)
            except Unavailable as error:
                log.debug("a new or changed route can't be prepared yet", reason=str(error))

        # In the order of the routes, in which they take the names of their copies.
        await asyncio.gather(*(prepare(topic) for topic in self.processors if topic in self._changed_topics))

    def _report_stops(self) -> None:
        for topic, processor in self.processors.items():
            self.metrics.stopped.labels(processor.route.name).set(bool(self.stops.faults_of(topic)))
            self.metrics.paused.labels(processor.route.name).set(self.stops.pause_of(topic) is not None)

    def _measure_lag(self, partitions: Mapping[TopicPartition, Progress]) -> None:
        unplaced = self.member.lag.unplaced_topics
        for topic, processor in self.processors.items():
            if topic in unplaced:
                continue
            behind = {
                partition: each for partition, each in partitions.items() if partition.topic == topic and each.lag
            }
            standing = {partition: self._watchdog.stalled_seconds(partition) for partition in behind}
            stopped = [(datetime.now(UTC) - stop.stopped_at).total_seconds() for stop in self.stops.of(topic) if behind]
            # An event that is not fetched yet is at least as old as the stall.
            waited = (
                standing[partition] if each.oldest_seconds is None else each.oldest_seconds
                for partition, each in behind.items()
            )
            name = processor.route.name
            self.metrics.lag.labels(name).set(sum(each.lag for each in behind.values()))
            self.metrics.lag_seconds.labels(name).set(max((0.0, *waited, *stopped)))
            self.metrics.stalled_seconds.labels(name).set(max((0.0, *standing.values())))

    async def _finish_moves(self) -> None:
        is_upgraded = partial(has_only_marked_members, self._kafka, self._settings.sync_group_id)
        await self._stores.finish_moves(self.routes, is_upgraded, self._settings.sync_move_quiet_seconds)

    async def _erase(self) -> None:
        """Delete records that carry excluded fields, of the events and of the dead letters."""
        excluded = {topic: processor.excluded for topic, processor in self.processors.items() if processor.excluded}
        erased = ErasedOffsets(self._stores.engine)
        letters = DeadLetterErasure(self._kafka, self._dead_letter_reader, self.dead_letters, erased, excluded)
        topics = TopicErasure(
            self._kafka,
            self._settings.sync_group_id,
            erased,
            workers=lambda: self.member.workers,
            unsaved=letters.unsaved,
        )
        reported, pause, letters_pause, letters_due_at = "", 0.5, 60.0, 0.0
        while excluded:
            try:
                await topics.erase()
                # Only processes of an earlier release write dead letters with excluded fields.
                if time.monotonic() >= letters_due_at:
                    await self._stores.run_alone("erase dead letters", letters.erase)
                    letters_due_at = time.monotonic() + letters_pause
                    letters_pause = min(2 * letters_pause, PURGE_SECONDS)
                reported = ""
            except (KafkaError, Unavailable, OSError) as error:
                reason = await self._kafka.explain(error) if isinstance(error, KafkaError) else str(error)
                if reason != reported:
                    log.warning("excluded fields can't be erased yet", reason=reason, notable=True)
                reported = reason
            await asyncio.sleep(pause)
            # Partitions are assigned soon after the start.
            pause = min(2 * pause, ERASURE_SECONDS)

    async def _purge(self) -> None:
        while True:
            for topic, processor in self.processors.items():
                try:
                    with self._using_copy(topic):
                        if not self.stops.is_stopped(topic):
                            await processor.sink.purge()
                except Unavailable as error:
                    log.warning("tombstones not purged", route=processor.route.name, reason=str(error))
            await asyncio.sleep(PURGE_SECONDS)


def _is_of_dependency(error: Exception) -> bool:
    """Does a server not answer, or another process hold the lock of the schema? Then a later attempt may succeed."""
    return isinstance(error, Unavailable | KafkaError | OSError) and not isinstance(error, RouteRefused)


def _format_stuck(stuck: Mapping[TopicPartition, float]) -> str:
    return ", ".join(f"{each.topic}-{each.partition} for {seconds:.0f} s" for each, seconds in sorted(stuck.items()))
