"""Applies the records of a route: decoding, mapping, batching and the sink."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import TypeAlias

import structlog
from aiokafka import ConsumerRecord

from service_kit.retry import Retrier
from sync_service.apply.batching import chunks
from sync_service.apply.changes import Change, earlier
from sync_service.apply.decode import decode_change
from sync_service.apply.isolation import IsolatingWrite
from sync_service.apply.new_fields import NewFields
from sync_service.apply.ordering import Version, topic_partition
from sync_service.apply.stops import RouteStopped, StopCause
from sync_service.dead_letters.models import Stage
from sync_service.dead_letters.router import BatchRouter, DeadLetterRouter, TooManyDeadLetters
from sync_service.debezium.errors import InvalidEvent, NoKeys, Truncated
from sync_service.kafka.gaps import Cause
from sync_service.metrics import NO_OPERATION
from sync_service.routes.config import Route
from sync_service.routes.exclusion import ExcludedFields
from sync_service.sinks.base import Rejected, RouteRefused, Sink, Unavailable, UnknownFailure, Written
from sync_service.statistics import EventOutcome, RouteStatistics
from sync_service.timestamps import age_seconds

log = structlog.get_logger(__name__)

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"
# Stores that the copy lacks the change of a record, with the id of its topic, the cause and the reason. Raises
# `Unavailable`.
RecordDoubt: TypeAlias = Callable[[Record, str, Cause, str], Awaitable[None]]

# What ends a batch and stops the route, because the next events would fail, too.
_CAUSES: dict[type[Exception], StopCause] = {
    NoKeys: "no-keys",
    RouteRefused: "refused",
    TooManyDeadLetters: "too-many-dead-letters",
}
_STOPPING = tuple(_CAUSES)
# So many records without keys, and none with one, are those of a table without a primary key. Fewer may be strays.
_RECORDS_WITHOUT_KEYS = 10


class RouteProcessor:
    """Applies the events of one route.

    Batches of several partitions may be applied concurrently: they have no keys in common.
    """

    def __init__(
        self,
        route: Route,
        sink: Sink,
        dead_letter_router: DeadLetterRouter,
        statistics: RouteStatistics,
        *,
        rows_at_once: int,
        record_doubt: RecordDoubt,
    ) -> None:
        self.route = route
        self.excluded = ExcludedFields(route.excluded)
        self.sink = sink
        self.statistics = statistics
        self._new_fields = NewFields(route, statistics) if route.on_new_field == "alert" else None
        self._dead_letter_router = dead_letter_router
        self._rows_at_once = rows_at_once
        self._record_doubt = record_doubt
        self._log_generations: set[str] = set()
        self._latest_written: Change | None = None

    def note_new_topic(self) -> None:
        """The topic was created again: new offsets are not comparable with earlier ones."""
        self.statistics.metrics.log_generations.labels(self.route.name).inc()

    def note_unfit_fields(self, found: Mapping[str, str]) -> None:
        """Report fields whose type in the source no longer fits, with the reasons; none if all fit again."""
        for name, reason in found.items():
            if self.statistics.unfit_fields.get(name) != reason:
                log.warning(
                    "the type of a field in the source has changed and no longer fits the route: some of its events "
                    "will become dead letters",
                    route=self.route.name,
                    field=name,
                    reason=reason,
                    notable=True,
                )
        self.statistics.note_unfit_fields(found)

    async def prepare(self) -> None:
        """Let events be applied as soon as the copy is prepared. Raises `Unavailable`, `UnfitTable`."""
        await self.sink.prepare()
        self.statistics.not_prepared = None

    async def apply(
        self,
        records: Sequence[Record],
        topic_id: str,
        retrier: Retrier,
        waiting: Callable[[], Sequence[Record]] = tuple,
    ) -> None:
        """Apply the records of one partition in the order of the log. `waiting` returns those that follow.

        Afterwards each one is in the copy, in the dead letters, or needs no write. Raises `Cancelled` if the retrier is
        cancelled, and `RouteStopped` with the first record that is not finished.
        """
        partition = topic_partition(topic_id, records[0].partition)
        router = self._dead_letter_router.begin(records, topic_id)
        batch = _Batch(records, retrier, router, topic_id, partition, waiting)
        try:
            await retrier.run(self._wait_for_copy)
            await self._apply(batch)
        except _STOPPING as error:
            cause = next(cause for kind, cause in _CAUSES.items() if isinstance(error, kind))
            raise RouteStopped(cause, str(error), batch.next_offset) from error
        batch.router.done(records[-1].offset + 1)

    async def discard(self, records: Sequence[Record], topic_id: str, retrier: Retrier, *, by: str) -> None:
        """Write each record to the dead letters, as discarded by a user. Raises `Cancelled`."""
        router = self._dead_letter_router.begin(records, topic_id)
        for record in records:
            await retrier.run(partial(router.discard, record, by=by))
        self.statistics.count("dead-lettered", repeat(NO_OPERATION, len(records)))
        router.done(records[-1].offset + 1)

    async def _wait_for_copy(self) -> None:
        if self.statistics.not_prepared is not None:
            raise Unavailable(self.statistics.not_prepared)

    async def _apply(self, batch: "_Batch") -> None:
        changes: list[Change] = []
        ignored = decoded = 0
        stopping: Exception | None = None
        for record in batch.records:
            try:
                change = decode_change(
                    self.route,
                    record.key,
                    record.value,
                    topic_partition=batch.partition,
                    number=record.offset,
                    new_fields=self._new_fields,
                )
                decoded += 1
                if change is None:
                    ignored += 1
                    batch.finished.add(record.offset)
                else:
                    self._note_log_generation(change.version)
                    changes.append(change)
            except Exception as error:  # noqa: BLE001 - without I/O, the same record fails every time
                if isinstance(error, NoKeys) and batch.has_no_keys:
                    stopping = error
                    break
                batch.router.decoded(decoded)
                decoded = 0
                if isinstance(error, Truncated):
                    await batch.retrier.run(
                        partial(self._record_doubt, record, batch.topic_id, "truncated", str(error))
                    )
                try:
                    await self._send_to_dead_letters(record, "VALUE_CONVERTER", error, batch)
                except TooManyDeadLetters as too_many:
                    stopping = too_many
                    break
        batch.router.decoded(decoded)
        self.statistics.count("ignored", repeat(NO_OPERATION, ignored))
        for chunk in chunks(changes, self._rows_at_once, keeps_rows=self.route.keeps_rows):
            await self._write(chunk, batch)
        if stopping is not None:
            raise stopping

    def _note_log_generation(self, version: Version) -> None:
        if version.position is None or version.position.generation in self._log_generations:
            return
        if self._log_generations:
            log.warning("new log generation", route=self.route.name, now=version.position.generation, notable=True)
            self.statistics.metrics.log_generations.labels(self.route.name).inc()
        self._log_generations.add(version.position.generation)

    async def _write(self, chunk: Sequence[Change], batch: "_Batch") -> None:
        """Write a chunk. If the store rejects it, write its halves, until only the rejected changes are left."""
        started = time.perf_counter()
        attempt = IsolatingWrite(self.sink, chunk, neighbours=lambda: self._neighbours(batch))
        try:
            written = await batch.retrier.run(attempt)
        except Rejected as error:
            if len(chunk) > 1:
                half = len(chunk) // 2
                await self._write(chunk[:half], batch)
                await self._write(chunk[half:], batch)
                return
            (change,) = chunk
            await self._refuse(change, error, batch)
            return
        if done := (*written.applied, *written.skipped):
            self._latest_written = done[-1]
            batch.router.written()
            batch.written.append(done)
        self._note_written(written, len(chunk), time.perf_counter() - started)
        for change, failure in attempt.isolated:
            if isinstance(failure, UnknownFailure):
                self.statistics.metrics.unknown_failures.labels(self.route.name).inc()
            await self._refuse(change, failure, batch)

    async def _refuse(self, change: Change, error: Exception, batch: "_Batch") -> None:
        await self._send_to_dead_letters(batch.record_of(change), "TASK_PUT", error, batch)
        if change.superseded is not None:
            await self._write([change.superseded], batch)

    def _neighbours(self, batch: "_Batch") -> Iterator[Change]:
        """Changes of other rows: the latest one that was written, and those of records that wait for this batch."""
        if self._latest_written is not None:
            yield self._latest_written
        for record in batch.waiting():
            with suppress(InvalidEvent):
                change = decode_change(
                    self.route, record.key, record.value, topic_partition=batch.partition, number=record.offset
                )
                if change is not None:
                    yield change

    def _note_written(self, written: Written, rows: int, seconds: float) -> None:
        metrics, name, target = self.statistics.metrics, self.route.name, self.route.target
        metrics.write.labels(name).observe(seconds)
        metrics.batch.labels(name).observe(rows)
        outcomes: dict[EventOutcome, Sequence[Change]] = {"applied": written.applied, "skipped": written.skipped}
        for outcome, changes in outcomes.items():
            self.statistics.count(outcome, (change.version.operation for change in changes))
            self.statistics.count(
                "superseded",
                (each.version.operation for change in changes if change.superseded for each in earlier(change)),
            )
        log.info(
            "applied",
            route=name,
            to=f"{target.store} {target.name}",
            rows=len(written.applied),
            skipped=len(written.skipped),
            notable=True,
        )
        now_ms = time.time() * 1000
        ages = (age_seconds(each.committed_ms, now_ms) for each in written.applied if each.committed_ms is not None)
        self.statistics.observe_latencies([age for age in ages if age is not None])

    async def _send_to_dead_letters(self, record: Record, stage: Stage, error: Exception, batch: "_Batch") -> None:
        await batch.retrier.run(lambda: batch.router.send_to_dead_letters(record, stage, error))
        batch.finished.add(record.offset)
        self.statistics.count("dead-lettered", [NO_OPERATION])
        log.warning(
            "dead letter",
            route=self.route.name,
            partition=record.partition,
            offset=record.offset,
            stage=stage,
            reason=str(error)[:500],
            notable=True,
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """The records of one partition that are being applied.

    `waiting` returns those that wait for the next batch. Those that are done are in `written`, by their changes, or in
    `finished`, by their offsets.
    """

    records: Sequence[Record]
    retrier: Retrier
    router: BatchRouter
    topic_id: str
    partition: str
    waiting: Callable[[], Sequence[Record]]
    written: list[Sequence[Change]] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)

    @property
    def has_no_keys(self) -> bool:
        return len(self.records) >= _RECORDS_WITHOUT_KEYS and all(record.key is None for record in self.records)

    def record_of(self, change: Change) -> Record:
        return next(record for record in self.records if record.offset == int(change.version.offset))

    @property
    def next_offset(self) -> int:
        """The offset of the first record that is not finished, or the one after the last record."""
        changes = (each for done in self.written for change in done for each in (change, *earlier(change)))
        done = self.finished | {int(each.version.offset) for each in changes}
        offsets = [int(record.offset) for record in self.records]
        return next((each for each in offsets if each not in done), offsets[-1] + 1)
