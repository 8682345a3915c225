"""One assigned partition: its records in order, one batch at a time, and its offset committed behind each."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from sync_service.consumer.application import RouteApplication
from sync_service.consumer.persistence import Closing, Persistence
from sync_service.sinks.sink import Unavailable

log = structlog.get_logger(__name__)

# One in work and one waiting: the next is fetched while this one is written.
BATCHES_HELD = 2


class PartitionWorker:
    """Lives from the assignment of a partition to its revocation.

    `commit` gets the offset after the last record that is done with. `task` ends with an exception if the sync
    can't go on.
    """

    def __init__(
        self,
        partition: TopicPartition,
        application: RouteApplication,
        topic_id: str,
        *,
        commit: Callable[[int], Awaitable[None]],
        on_room: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.application = application
        self.next_offset: int | None = None
        self._topic_id = topic_id
        self._commit = commit
        self._on_room = on_room
        self._batches: deque[Sequence[ConsumerRecord[bytes, bytes]]] = deque()
        self._wakened = asyncio.Event()
        self._persistence = Persistence((Unavailable, KafkaError), self._note_failure)
        self.task = asyncio.create_task(self._run(), name=f"{partition.topic}-{partition.partition}")

    @property
    def is_full(self) -> bool:
        return len(self._batches) >= BATCHES_HELD

    def accept(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        self._batches.append(records)
        self._wakened.set()

    async def close(self) -> None:
        """Finish the write that goes on and commit it; what waits behind it is for the partition's next owner."""
        self._persistence.close()
        self._wakened.set()
        await asyncio.wait([self.task])

    async def _run(self) -> None:
        try:
            while (records := await self._next()) is not None:
                await self.application.apply(records, self._topic_id, self._persistence)
                self.next_offset = records[-1].offset + 1
                await self._commit(self.next_offset)
                self._batches.popleft()
                self._on_room()
        except Closing:
            pass
        except (CommitFailedError, IllegalStateError):
            # The partition has been given to somebody else: what we wrote, his writes will find to be there.
            log.info("partition lost", topic=self.partition.topic, partition=self.partition.partition)

    async def _next(self) -> Sequence[ConsumerRecord[bytes, bytes]] | None:
        while not self._batches and not self._persistence.closing:
            self._wakened.clear()
            await self._wakened.wait()
        return None if self._persistence.closing else self._batches[0]

    def _note_failure(self, error: Exception) -> None:
        statistics = self.application.statistics
        reason = str(error) or type(error).__name__
        if statistics.blocked_by is None:
            log.warning("waiting for a dependency", route=self.application.route.name, reason=reason, notable=True)
        statistics.blocked_by = reason
        statistics.metrics.retries.labels(self.application.route.name).inc()
