"""Offsets of what is done with: committed after the writes, of all partitions together, one request at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata

log = structlog.get_logger(__name__)

# After a crash the events since the last commit are delivered again, and skipped.
PAUSE_SECONDS = 0.05


class OffsetCommits:
    """No write waits for a commit. `commit` gets the offset after the last record that is done with, by partition.

    Its metadata is the id of the topic: the offsets of a topic that is created again mean something else.
    """

    def __init__(self, commit: Callable[[Mapping[TopicPartition, OffsetAndMetadata]], Awaitable[None]]) -> None:
        self._commit = commit
        self._noted: dict[TopicPartition, OffsetAndMetadata] = {}
        self._wakened = asyncio.Event()
        self._under_way = asyncio.Lock()

    def note(self, partition: TopicPartition, topic_id: str, next_offset: int) -> None:
        self._noted[partition] = OffsetAndMetadata(next_offset, topic_id)
        self._wakened.set()

    def forget(self) -> None:
        """What was noted for one consumer is not for the next one to commit."""
        self._noted.clear()

    async def run(self) -> None:
        """Commit what is noted, for ever. Raises `KafkaError`."""
        while True:
            await self._wakened.wait()
            await self.flush()
            await asyncio.sleep(PAUSE_SECONDS)

    async def flush(self) -> None:
        """Commit what has been noted until now. Raises `KafkaError`."""
        async with self._under_way:
            noted, self._noted = self._noted, {}
            self._wakened.clear()
            if not noted:
                return
            try:
                await self._commit(noted)
            except (CommitFailedError, IllegalStateError):
                # Other members have the partitions by now. They apply these events again, and skip what is written.
                log.info("partitions lost", partitions=[f"{each.topic}-{each.partition}" for each in noted])
