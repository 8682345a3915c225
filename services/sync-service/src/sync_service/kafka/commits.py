"""Commits offsets after the writes: of all partitions together, one request at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaTimeoutError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from sync_service.kafka.deadlines import within

log = structlog.get_logger(__name__)

# The pause between two commits. After a crash the events since the last commit are delivered again, and skipped.
PAUSE_SECONDS = 0.05
# The pause after a failure.
RETRY_SECONDS = 0.5


class OffsetCommits:
    """No write waits for a commit. `commit` gets the offset after the last applied record of each partition.

    The metadata is the id of the topic: offsets of a topic that is created again have another meaning. An offset stays
    noted until it is committed or replaced by a newer one, or its partition is forgotten. `seconds` is the deadline of
    one commit: aiokafka repeats a commit without end if one topic of it is deleted.
    """

    def __init__(
        self, commit: Callable[[Mapping[TopicPartition, OffsetAndMetadata]], Awaitable[None]], *, seconds: float
    ) -> None:
        self._commit = commit
        self._seconds = seconds
        self._noted: dict[TopicPartition, OffsetAndMetadata] = {}
        self._has_news = asyncio.Event()
        self._committing = asyncio.Lock()
        # Topics whose latest commit failed. Each is committed alone, so that the others do not fail with it.
        self._failing: frozenset[str] = frozenset()

    def note(self, partition: TopicPartition, topic_id: str, next_offset: int) -> None:
        self._noted[partition] = OffsetAndMetadata(next_offset, topic_id)
        self._has_news.set()

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop the noted offsets of partitions that this process has no longer."""
        for partition in partitions:
            self._noted.pop(partition, None)

    def forget_all(self) -> None:
        """Drop all noted offsets: they belong to the consumer before."""
        self._noted.clear()
        self._failing = frozenset()

    async def run(self) -> None:
        """Commit noted offsets until cancelled. Raises `KafkaError`."""
        while True:
            await self._has_news.wait()
            failed = await self.flush()
            await asyncio.sleep(RETRY_SECONDS if failed else PAUSE_SECONDS)

    async def flush(self) -> Collection[TopicPartition]:
        """Commit the offsets noted so far. Returns the partitions for which that failed: their offsets stay noted.

        Raises `KafkaError` if the broker refuses commits of this group.
        """
        async with self._committing:
            self._has_news.clear()
            try:
                return await self._flush(dict(self._noted))
            except CommitFailedError:
                # The group rebalances. This process keeps its partitions, or other members read these events again and
                # skip the ones that are written.
                log.info("not committed during a rebalance", partitions=len(self._noted))
                return set(self._noted)
            finally:
                if self._noted:
                    self._has_news.set()

    async def _flush(self, noted: Mapping[TopicPartition, OffsetAndMetadata]) -> Collection[TopicPartition]:
        topics = frozenset(partition.topic for partition in noted)
        together, alone = topics - self._failing, topics & self._failing
        failed = await self._commit_each(noted, [together, *(frozenset({topic}) for topic in alone)])
        if together in failed and len(together) > 1:
            # The error does not say which topic is at fault.
            failed.remove(together)
            failed += await self._commit_each(noted, [frozenset({topic}) for topic in together])
        failing = frozenset[str]().union(*failed)
        if new := failing - self._failing:
            log.warning("offsets are not committed; this is tried again", topics=sorted(new))
        self._failing = failing
        return [partition for partition in noted if partition.topic in failing]

    async def _commit_each(
        self, noted: Mapping[TopicPartition, OffsetAndMetadata], groups: Iterable[frozenset[str]]
    ) -> list[frozenset[str]]:
        """Commit each group of topics for itself, all at the same time. Returns the groups that failed."""
        groups = [group for group in groups if group]
        offsets = [{each: offset for each, offset in noted.items() if each.topic in group} for group in groups]
        outcomes = await asyncio.gather(*map(self._commit_within, offsets), return_exceptions=True)
        failed = []
        for group, outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, KafkaTimeoutError | TopicAuthorizationFailedError):
                failed.append(group)
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed

    async def _commit_within(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        async with within(self._seconds, "no answer"):
            await self._commit(offsets)
        for partition, offset in offsets.items():
            if self._noted.get(partition) is offset:
                del self._noted[partition]
