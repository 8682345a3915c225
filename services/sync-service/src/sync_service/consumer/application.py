"""From records to rows: one route's way through decoding, mapping and the sink."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog
from aiokafka import ConsumerRecord

from sync_service.apply.changes import Change, chunks
from sync_service.apply.rule import SNAPSHOT_READ, Version, offset, stream
from sync_service.consumer.dead_letters import DeadLetters, Stage, TooManyDeadLetters
from sync_service.consumer.persistence import Persistence
from sync_service.events.envelope import ChangeEvent, decode
from sync_service.events.positions import epoch, position
from sync_service.routes.mapping import map_fields, map_key
from sync_service.routes.models import Route
from sync_service.sinks.sink import Rejected, Sink
from sync_service.status.statistics import RouteStatistics

log = structlog.get_logger(__name__)

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass
class _Batch:
    """Records in work, by the event that each is."""

    persistence: Persistence
    records: dict[str, Record] = field(default_factory=dict)
    committed_ms: dict[str, int] = field(default_factory=dict)


class RouteApplication:
    """Applies a route's events. `dead_letter_limit`: so many in a row stop it.

    Batches of several partitions may be applied at once; they have no keys in common.
    """

    def __init__(
        self,
        route: Route,
        sink: Sink,
        dead_letters: DeadLetters,
        statistics: RouteStatistics,
        *,
        rows_at_once: int,
        dead_letter_limit: int,
    ) -> None:
        self.route = route
        self.sink = sink
        self.statistics = statistics
        self._dead_letters = dead_letters
        self._rows_at_once = rows_at_once
        self._dead_letter_limit = dead_letter_limit
        self._failures: dict[Stage, int] = {"VALUE_CONVERTER": 0, "TASK_PUT": 0}
        self._epoch: str | None = None

    def note_new_topic(self) -> None:
        """The topic was made anew: from here on offsets say nothing about those before."""
        self.statistics.metrics.epochs.labels(self.route.name).inc()

    async def apply(self, records: Sequence[Record], topic_id: str, persistence: Persistence) -> None:
        """Have every record in the copy, in the dead letters or found to be needless, in the order of the log.

        Raises `Closing` if the persistence was closed meanwhile, `TooManyDeadLetters`.
        """
        batch = _Batch(persistence)
        changes = []
        for record in records:
            try:
                change = self._change(record, topic_id, batch)
            except Exception as error:  # noqa: BLE001 - there is no I/O in it: what fails once fails always
                await self._divert(record, "VALUE_CONVERTER", error, persistence)
                continue
            self._failures["VALUE_CONVERTER"] = 0
            if change is None:
                self.statistics.count(ignored=1)
            else:
                changes.append(change)
        for chunk in chunks(changes, self._rows_at_once):
            await self._write(chunk, batch)

    def _change(self, record: Record, topic_id: str, batch: _Batch) -> Change | None:
        """None if there is nothing to do: a log-compaction tombstone, or a document that is gone by now.

        (The connector looks the document up when it reads the event; if it was deleted meanwhile there is no
        `after`, and its delete follows.)
        """
        event = decode(record.key, record.value)
        if event is None or (event.after is None and event.operation != "d"):
            return None
        version = self._version(event, record, topic_id)
        values = None if event.operation == "d" or event.after is None else map_fields(self.route, event.after)
        change = Change(map_key(self.route, event.key), values, version)
        batch.records[version.event] = record
        if event.operation != SNAPSHOT_READ:
            batch.committed_ms[version.event] = event.source.ts_ms
        return change

    def _version(self, event: ChangeEvent, record: Record, topic_id: str) -> Version:
        version = Version(
            stream=stream(topic_id, record.partition),
            offset=offset(record.offset),
            epoch=epoch(event.source),
            position=position(event.source),
            operation=event.operation,
        )
        # A snapshot does not know its server: only a whole epoch can be another one.
        if event.operation != SNAPSHOT_READ and version.epoch != self._epoch:
            if self._epoch is not None:
                log.warning("new epoch", route=self.route.name, before=self._epoch, now=version.epoch, notable=True)
                self.statistics.metrics.epochs.labels(self.route.name).inc()
            self._epoch = version.epoch
        return version

    async def _write(self, chunk: Sequence[Change], batch: _Batch) -> None:
        """Write a chunk; if the store rejects it, find out which change it is by halves. The others are written."""
        metrics, started = self.statistics.metrics, time.perf_counter()
        try:
            written = await batch.persistence.insist(lambda: self.sink.write(chunk))
        except Rejected as error:
            if len(chunk) > 1:
                half = len(chunk) // 2
                await self._write(chunk[:half], batch)
                await self._write(chunk[half:], batch)
                return
            (change,) = chunk
            await self._divert(batch.records[change.version.event], "TASK_PUT", error, batch.persistence)
            if change.superseded is not None:
                await self._write([change.superseded], batch)
            return
        self._failures["TASK_PUT"] = 0
        self.statistics.blocked_by = None
        metrics.write.labels(self.route.name).observe(time.perf_counter() - started)
        metrics.batch.labels(self.route.name).observe(len(chunk))
        self.statistics.count(
            applied=written.applied, skipped=written.skipped, superseded=sum(map(_superseded_by, chunk))
        )
        target = self.route.target
        log.info(
            "applied",
            route=self.route.name,
            to=f"{target.store} {target.name}",
            rows=written.applied,
            skipped=written.skipped,
            notable=True,
        )
        now_ms = time.time() * 1000
        for change in chunk:
            committed_ms = batch.committed_ms.get(change.version.event)
            if committed_ms is not None:
                self.statistics.observe_latency(max(0.0, now_ms - committed_ms) / 1000)

    async def _divert(self, record: Record, stage: Stage, error: Exception, persistence: Persistence) -> None:
        if self._failures[stage] >= self._dead_letter_limit:
            raise TooManyDeadLetters(
                f"route {self.route.name}: {self._dead_letter_limit} events in a row could not be applied; "
                f"the next one, {record.topic}-{record.partition} offset {record.offset}: {error}"
            )
        await persistence.insist(lambda: self._dead_letters.send(record, stage, error))
        self._failures[stage] += 1
        self.statistics.count(dead_lettered=1)
        log.warning(
            "dead letter",
            route=self.route.name,
            partition=record.partition,
            offset=record.offset,
            stage=stage,
            reason=str(error)[:500],
            notable=True,
        )


def _superseded_by(change: Change) -> int:
    count, earlier = 0, change.superseded
    while earlier is not None:
        count, earlier = count + 1, earlier.superseded
    return count
