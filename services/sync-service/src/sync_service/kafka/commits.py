"""Commits offsets after the writes: of all partitions together, one request at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata

log = structlog.get_logger(__name__)

# The pause between two commits. After a crash the events since the last commit are delivered again, and skipped.
PAUSE_SECONDS = 0.05


class OffsetCommits:
    """No write waits for a commit. `commit` gets the offset after the last applied record of each partition.

    The metadata is the id of the topic: offsets of a topic that is created again have another meaning.
    """

    def __init__(self, commit: Callable[[Mapping[TopicPartition, OffsetAndMetadata]], Awaitable[None]]) -> None:
        self._commit = commit
        self._noted: dict[TopicPartition, OffsetAndMetadata] = {}
        self._has_news = asyncio.Event()
        self._committing = asyncio.Lock()

    def note(self, partition: TopicPartition, topic_id: str, next_offset: int) -> None:
        self._noted[partition] = OffsetAndMetadata(next_offset, topic_id)
        self._has_news.set()

    def forget(self) -> None:
        """Drop noted offsets: they belong to the consumer before."""
        self._noted.clear()

    async def run(self) -> None:
        """Commit noted offsets until cancelled. Raises `KafkaError`."""
        while True:
            await self._has_news.wait()
            await self.flush()
            await asyncio.sleep(PAUSE_SECONDS)

    async def flush(self) -> None:
        """Commit the offsets noted so far. Raises `KafkaError`."""
        async with self._committing:
            noted, self._noted = self._noted, {}
            self._has_news.clear()
            if not noted:
                return
            try:
                await self._commit(noted)
            except (CommitFailedError, IllegalStateError):
                # Other members have the partitions now. They read these events again, and skip the ones that are
                # written.
                log.info("partitions lost", partitions=[f"{each.topic}-{each.partition}" for each in noted])
