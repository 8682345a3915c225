"""Applies one assigned partition in order, batch by batch, and notes its offset after each batch."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from service_kit.error_texts import error_reason
from service_kit.retry import Backoff, Cancelled, Retrier
from sync_service.apply.processor import RouteProcessor
from sync_service.apply.stops import RouteStopped
from sync_service.kafka.stops import Skip
from sync_service.sinks.base import RouteRefused, Unavailable
from sync_service.timestamps import age_seconds

log = structlog.get_logger(__name__)

# The next records are fetched while a batch is written, until this many wait.
RECORDS_WAITING = 500
BYTES_WAITING = 2 * 1024 * 1024
# The records of one batch, and so the size of a statement. One record may be larger.
BYTES_AT_ONCE = 4 * 1024 * 1024
# A failed write is retried until it succeeds or the partition is revoked.
BACKOFF = Backoff(initial=0.1, maximum=5.0)
# A batch that fails for another reason is tried so often, in about 3 seconds, before its route stops.
ATTEMPTS = 6


class PartitionWorker:
    """Lives from the assignment of a partition to its revocation.

    `on_done` gets the offset after the last applied record, `on_room` is called when no record waits any more,
    `on_stopped` gets the reason if the route can't continue.
    `next_offset` is the offset of the first record that is not applied; None before `start_at`.
    While the worker `is_held` it takes no records, and ends the batch in flight; `start_at` ends that.
    """

    def __init__(
        self,
        partition: TopicPartition,
        processor: RouteProcessor,
        topic_id: str,
        *,
        on_done: Callable[[int], None],
        on_room: Callable[[], None],
        on_stopped: Callable[[RouteStopped], None],
    ) -> None:
        self.partition = partition
        self.processor = processor
        self.next_offset: int | None = None
        self.topic_id = topic_id
        self.is_held = False
        # The offset of the latest record that carries a field that the route excludes; -1 if none does.
        self.last_excluded = -1
        self._on_done = on_done
        self._on_room = on_room
        self._on_stopped = on_stopped
        self._discard: Skip | None = None
        self._batch: Sequence[ConsumerRecord[bytes, bytes]] = ()
        self._waiting: list[ConsumerRecord[bytes, bytes]] = []
        self._batch_bytes = self._bytes_waiting = 0
        self._batch_since = self._waiting_since = 0.0
        self._has_news = asyncio.Event()
        self._is_closing = False
        self._begin_retrying()
        self.task = asyncio.create_task(self._run(), name=f"{partition.topic}-{partition.partition}")

    def _begin_retrying(self) -> None:
        self._retrier = Retrier(
            on=_is_of_dependency, backoff=BACKOFF, on_failure=lambda error, _delay: self.note_failure(error)
        )
        self._attempts = Retrier(on=_may_pass, backoff=BACKOFF, attempts=ATTEMPTS, on_failure=self._note_failed_attempt)

    @property
    def is_idle(self) -> bool:
        return not self._batch and not self._waiting

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= RECORDS_WAITING or self._bytes_waiting >= BYTES_WAITING

    @property
    def bytes_held(self) -> int:
        """Of the records that wait and of those that are being written."""
        return self._batch_bytes + self._bytes_waiting

    @property
    def oldest_seconds(self) -> float | None:
        """The age of the oldest event that this process holds; None if it holds none.

        Its timestamp is compared with the clock once, when it is accepted, because the clock may be changed later.
        """
        since = self._batch_since if self._batch else self._waiting_since if self._waiting else None
        return None if since is None else time.monotonic() - since

    def start_at(self, offset: int, *, commit: bool, discard: Skip | None = None) -> None:
        """Set the first offset, only while the worker is idle. `commit`: the group has not committed this offset yet.

        It is committed without waiting for an event. Otherwise a gap that ends here would be found again with each
        assignment. The records in `discard` are not applied.
        """
        self.is_held = False
        self._discard = discard
        self.next_offset = offset
        if commit:
            self._on_done(offset)

    def skip_to(self, position: int) -> None:
        """The consumer has reached this position without a record: transaction markers or aborted records."""
        if self.is_idle and not self.is_held and self.next_offset is not None and position > self.next_offset:
            self.next_offset = position
            self._on_done(position)

    def hold(self) -> None:
        """Forget the records that wait, and retry no write: they are fetched again."""
        self.is_held = True
        self._waiting, self._bytes_waiting = [], 0
        self._attempts.cancel()
        self._retrier.cancel()

    def accept(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        if self.is_held:
            return
        if not self._waiting:
            self._waiting_since = time.monotonic() - (age_seconds(records[0].timestamp, time.time() * 1000) or 0.0)
        self._waiting += records
        self._bytes_waiting += sum(map(_size, records))
        self._has_news.set()

    async def close(self) -> None:
        """Finish the current write. Records that wait are left to the partition's next owner."""
        self._is_closing = True
        self._attempts.cancel()
        self._retrier.cancel()
        self._has_news.set()
        await asyncio.wait([self.task])

    async def _run(self) -> None:
        try:
            while records := await self._next():
                try:
                    await self._attempts.run(partial(self._process, records))
                    self._note_done(records[-1].offset + 1)
                except Cancelled:
                    if self._is_closing:
                        raise
                    # Held meanwhile. The copy skips what is written already.
                except RouteStopped as stopped:
                    self._stop_route(stopped)
                except Exception as error:
                    log.exception("a batch fails again and again", route=self.processor.route.name)
                    reason = f"unexpected error: {error_reason(error)}"
                    self._stop_route(RouteStopped("unexpected-error", reason, records[0].offset))
                self.note_recovery()
        except Cancelled:
            pass
        finally:
            self.note_recovery()

    async def _process(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Apply the records, without those that an operator has decided to discard."""
        if excluded := self.processor.excluded:
            carrying = (record.offset for record in reversed(records) if excluded.are_in(record.value))
            self.last_excluded = max(self.last_excluded, next(carrying, -1))
        if (discard := self._discard) is not None:
            discarded = [record for record in records if record.offset < discard.end]
            if discarded:
                await self.processor.discard(discarded, self.topic_id, self._retrier, by=discard.by)
                records = records[len(discarded) :]
        if records:
            await self.processor.apply(records, self.topic_id, self._retrier, lambda: self._waiting)

    def _note_done(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self._on_done(next_offset)

    def _stop_route(self, stopped: RouteStopped) -> None:
        """Wait at the event that can't be applied. What is before it is finished."""
        self.hold()
        self._note_done(stopped.next_offset)
        self._on_stopped(stopped)

    async def _next(self) -> Sequence[ConsumerRecord[bytes, bytes]]:
        """The waiting records as one batch, up to `BYTES_AT_ONCE`; none while closing."""
        self._batch, self._batch_bytes = (), 0
        while not self._waiting and not self._is_closing:
            self._has_news.clear()
            await self._has_news.wait()
        if self._is_closing:
            return ()
        if self._retrier.cancelled:
            self._begin_retrying()
        count, size = _first_batch(self._waiting)
        self._batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._batch_bytes, self._bytes_waiting = size, self._bytes_waiting - size
        self._batch_since = self._waiting_since
        if not self._waiting:
            self._on_room()
        return self._batch

    def _note_failed_attempt(self, error: Exception, _delay: float) -> None:
        log.warning(
            "a batch fails",
            route=self.processor.route.name,
            partition=self.partition.partition,
            reason=error_reason(error),
        )

    def note_failure(self, error: Exception) -> None:
        statistics = self.processor.statistics
        reason = str(error) or type(error).__name__
        if statistics.blocked_by is None:
            log.warning("waiting for a dependency", route=self.processor.route.name, reason=reason, notable=True)
        statistics.blocked[self.partition.partition] = reason
        statistics.metrics.retries.labels(self.processor.route.name).inc()

    def note_recovery(self) -> None:
        self.processor.statistics.blocked.pop(self.partition.partition, None)


def _size(record: "ConsumerRecord[bytes, bytes]") -> int:
    return len(record.key or b"") + len(record.value or b"")


def _first_batch(records: "Sequence[ConsumerRecord[bytes, bytes]]") -> tuple[int, int]:
    """How many records from the first one on have at most `BYTES_AT_ONCE`, but at least one, and their bytes."""
    total = 0
    for count, size in enumerate(map(_size, records)):
        if count and total + size > BYTES_AT_ONCE:
            return count, total
        total += size
    return len(records), total


def _is_of_dependency(error: Exception) -> bool:
    return isinstance(error, Unavailable | KafkaError) and not isinstance(error, RouteRefused)


def _may_pass(error: Exception) -> bool:
    """Is another attempt worthwhile? A refusal may be over soon, such as that of a table that is being replaced."""
    if isinstance(error, RouteStopped):
        return error.cause == "refused"
    return not isinstance(error, Cancelled)
