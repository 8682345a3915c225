"""One assigned partition: its records in order, one batch at a time, and its offset noted after each."""

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

# The next records are fetched while some are written; no more when so many wait.
# A batch is all of them, so that these are the bounds of what a partition holds and of a statement to the store: with
# one more fetch (1 MiB by aiokafka's default) far below what MySQL takes at once (`max_allowed_packet`, 64 MB).
RECORDS_WAITING = 500
BYTES_WAITING = 2 * 1024 * 1024
# A failed write is retried until it succeeds or the partition is revoked.
BACKOFF = Backoff(initial=0.1, maximum=5.0)


class PartitionWorker:
    """Lives from the assignment of a partition to its revocation.

    `on_done` gets the offset after the last record that is done with, `on_room` is called when nothing waits any more.
    `next_offset` is that of the first record that is not done with; None before `start_at`.
    `task` ends with an exception if the sync can't go on.
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
        self._in_work: Sequence[ConsumerRecord[bytes, bytes]] = ()
        self._waiting: list[ConsumerRecord[bytes, bytes]] = []
        self._bytes_waiting = 0
        self._in_work_since = self._waiting_since = 0.0
        self._wakened = asyncio.Event()
        self._retrier = Retrier(
            on=(Unavailable, KafkaError), backoff=BACKOFF, on_failure=lambda error, _delay: self.note_failure(error)
        )
        self.task = asyncio.create_task(self._run(), name=f"{partition.topic}-{partition.partition}")

    @property
    def is_idle(self) -> bool:
        return not self._in_work and not self._waiting

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= RECORDS_WAITING or self._bytes_waiting >= BYTES_WAITING

    @property
    def oldest_seconds(self) -> float | None:
        """How long ago the oldest event that this process holds came to the topic; None if it holds none.

        Its timestamp is compared with the clock once, when it is accepted: the clock may be set meanwhile.
        """
        since = self._in_work_since if self._in_work else self._waiting_since if self._waiting else None
        return None if since is None else time.monotonic() - since

    def start_at(self, offset: int, *, commit: bool) -> None:
        """Only while it is idle. `commit` if the group has not committed this offset: it need not wait for an event.

        A gap that ends here would be found again otherwise, whenever the partition is assigned.
        """
        self.next_offset = offset
        if commit:
            self._on_done(offset)

    def skip_to(self, position: int) -> None:
        """The consumer is there by now and found no record before: markers of transactions, aborted records."""
        if self.is_idle and self.next_offset is not None and position > self.next_offset:
            self.next_offset = position
            self._on_done(position)

    def accept(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        if not self._waiting:
            self._waiting_since = time.monotonic() - (age_seconds(records[0].timestamp, time.time() * 1000) or 0.0)
        self._waiting += records
        self._bytes_waiting += sum(len(record.value or b"") for record in records)
        self._wakened.set()

    async def close(self) -> None:
        """Finish the write in hand; what waits after it is for the partition's next owner."""
        self._retrier.cancel()
        self._wakened.set()
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
        """All that waits, as one batch; none when it is closing."""
        self._in_work = ()
        while not self._waiting and not self._retrier.cancelled:
            self._wakened.clear()
            await self._wakened.wait()
        if self._retrier.cancelled:
            return ()
        self._in_work, self._waiting, self._bytes_waiting = self._waiting, [], 0
        self._in_work_since = self._waiting_since
        self._on_room()
        return self._in_work

    def note_failure(self, error: Exception) -> None:
        statistics = self.processor.statistics
        reason = str(error) or type(error).__name__
        if statistics.blocked_by is None:
            log.warning("waiting for a dependency", route=self.processor.route.name, reason=reason, notable=True)
        statistics.blocked[self.partition.partition] = reason
        statistics.metrics.retries.labels(self.processor.route.name).inc()

    def note_recovery(self) -> None:
        self.processor.statistics.blocked.pop(self.partition.partition, None)
