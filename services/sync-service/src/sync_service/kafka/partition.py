"""Applies one assigned partition in order, batch by batch, and notes its offset after each batch."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from service_kit.retry import Backoff, Cancelled, Retrier
from sync_service.apply.processor import RouteProcessor
from sync_service.sinks.base import Unavailable
from sync_service.timestamps import age_seconds

log = structlog.get_logger(__name__)

# The next records are fetched while a batch is written, until this many wait.
RECORDS_WAITING = 500
BYTES_WAITING = 2 * 1024 * 1024
# The records of one batch, and so the size of a statement. One record may be larger.
BYTES_AT_ONCE = 4 * 1024 * 1024
# A failed write is retried until it succeeds or the partition is revoked.
BACKOFF = Backoff(initial=0.1, maximum=5.0)


class PartitionWorker:
    """Lives from the assignment of a partition to its revocation.

    `on_done` gets the offset after the last applied record, `on_room` is called when no record waits any more.
    `next_offset` is the offset of the first record that is not applied; None before `start_at`.
    `task` ends with an exception if the sync can't continue.
    """

    def __init__(
        self,
        partition: TopicPartition,
        processor: RouteProcessor,
        topic_id: str,
        *,
        on_done: Callable[[int], None],
        on_room: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.processor = processor
        self.next_offset: int | None = None
        self.topic_id = topic_id
        self._on_done = on_done
        self._on_room = on_room
        self._batch: Sequence[ConsumerRecord[bytes, bytes]] = ()
        self._waiting: list[ConsumerRecord[bytes, bytes]] = []
        self._batch_bytes = self._bytes_waiting = 0
        self._batch_since = self._waiting_since = 0.0
        self._has_news = asyncio.Event()
        self._retrier = Retrier(
            on=(Unavailable, KafkaError), backoff=BACKOFF, on_failure=lambda error, _delay: self.note_failure(error)
        )
        self.task = asyncio.create_task(self._run(), name=f"{partition.topic}-{partition.partition}")

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

    def start_at(self, offset: int, *, commit: bool) -> None:
        """Set the first offset, only while the worker is idle. `commit`: the group has not committed this offset yet.

        It is committed without waiting for an event. Otherwise a gap that ends here would be found again with each
        assignment.
        """
        self.next_offset = offset
        if commit:
            self._on_done(offset)

    def skip_to(self, position: int) -> None:
        """The consumer has reached this position without a record: transaction markers or aborted records."""
        if self.is_idle and self.next_offset is not None and position > self.next_offset:
            self.next_offset = position
            self._on_done(position)

    def accept(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        if not self._waiting:
            self._waiting_since = time.monotonic() - (age_seconds(records[0].timestamp, time.time() * 1000) or 0.0)
        self._waiting += records
        self._bytes_waiting += sum(map(_size, records))
        self._has_news.set()

    async def close(self) -> None:
        """Finish the current write. Records that wait are left to the partition's next owner."""
        self._retrier.cancel()
        self._has_news.set()
        await asyncio.wait([self.task])

    async def _run(self) -> None:
        try:
            while records := await self._next():
                await self.processor.apply(records, self.topic_id, self._retrier)
                self.note_recovery()
                self.next_offset = records[-1].offset + 1
                self._on_done(self.next_offset)
        except Cancelled:
            pass
        finally:
            self.note_recovery()

    async def _next(self) -> Sequence[ConsumerRecord[bytes, bytes]]:
        """The waiting records as one batch, up to `BYTES_AT_ONCE`; none while closing."""
        self._batch, self._batch_bytes = (), 0
        while not self._waiting and not self._retrier.cancelled:
            self._has_news.clear()
            await self._has_news.wait()
        if self._retrier.cancelled:
            return ()
        count, size = _first_batch(self._waiting)
        self._batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._batch_bytes, self._bytes_waiting = size, self._bytes_waiting - size
        self._batch_since = self._waiting_since
        if not self._waiting:
            self._on_room()
        return self._batch

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
