"""Deletes records with excluded fields from the topics, once they are applied.

A route excludes personal fields that its copy does not need (`drop` with `personal`), and the connector leaves them out
of new events. Older records may still carry them. Each process erases them in the partitions that it consumes: it
deletes the records of a partition up to the last one with such a field, never one that the group has not passed.

A partition is searched once. MySQL's table `sync_erased` keeps how far that was done, so a process that dies leaves
nothing undone: the next owner of the partition continues there. Records that this release applies are checked as they
come; those that a process of an earlier release applies meanwhile, after a step back, are searched again.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic
from sync_service.kafka.admin import committed_offsets, offset_ranges
from sync_service.kafka.clients import consumer_of_topics, read_until
from sync_service.kafka.deadlines import answering
from sync_service.kafka.partition import PartitionWorker

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_MS = 10_000
CLIENT = "sync-service-erasure"

# The offsets of events of a partition, given with the id of its topic, that only the topic has: their open dead letters
# were too large to keep them.
Unsaved = Callable[[TopicPartition, str], Awaitable[Collection[int]]]


class ErasedOffsets:
    """How far partitions are known to be without excluded fields. `engine` commits each statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of(self, topic: str, topic_id: str, fields: str) -> Mapping[int, int]:
        """The offsets by the number of the partition. `fields` is `ExcludedFields.digest`. Raises `Unavailable`."""
        query = (
            "SELECT partition_number, next_offset FROM sync_erased "
            "WHERE topic = :topic AND topic_id = :topic_id AND fields = :fields"
        )
        async with answering(), self._engine.connect() as connection:
            rows = await connection.execute(text(query), {"topic": topic, "topic_id": topic_id, "fields": fields})
            return {row.partition_number: row.next_offset for row in rows}

    async def store(self, topic: str, topic_id: str, partition: int, fields: str, next_offset: int) -> None:
        """Raises `Unavailable`."""
        statement = (
            "INSERT INTO sync_erased (topic, topic_id, partition_number, fields, next_offset) "
            "VALUES (:topic, :topic_id, :partition, :fields, :offset) AS new "
            "ON DUPLICATE KEY UPDATE fields = new.fields, next_offset = new.next_offset"
        )
        place = {"topic": topic, "topic_id": topic_id, "partition": partition}
        async with answering(), self._engine.connect() as connection:
            await connection.execute(text(statement), {**place, "fields": fields, "offset": next_offset})


class TopicErasure:
    """`workers` are those of the partitions that this process consumes."""

    def __init__(
        self,
        kafka: KafkaClients,
        group_id: str,
        erased: ErasedOffsets,
        *,
        workers: Callable[[], Sequence[PartitionWorker]],
        unsaved: Unsaved,
    ) -> None:
        self._unsaved = unsaved
        self._kafka = kafka
        self._group_id = group_id
        self._erased = erased
        self._workers = workers
        # By the workers whose partitions were searched up to their first record: no record before this offset carries
        # an excluded field.
        self._free_before: dict[PartitionWorker, int] = {}
        self._reported: set[TopicPartition] = set()

    async def erase(self) -> None:
        """Raises `KafkaError`, `Unavailable`."""
        excluding = [each for each in self._workers() if each.processor.excluded and each.next_offset is not None]
        self._free_before = {each: free for each, free in self._free_before.items() if each in excluding}
        workers = [each for each in excluding if self._has_news(each)]
        if not workers:
            return
        async with self._kafka.started(
            self._kafka.admin(client_id=CLIENT, request_timeout_ms=REQUEST_TIMEOUT_MS)
        ) as admin:
            committed = await committed_offsets(admin, self._group_id, [each.partition for each in workers])
            for worker in workers:
                offset = committed.get(worker.partition)
                # The offset of a topic that was created again says nothing. Earlier releases wrote no id.
                if offset is not None and offset.metadata in {"", worker.topic_id}:
                    await self._erase(admin, worker, offset.offset)

    def _has_news(self, worker: PartitionWorker) -> bool:
        return worker.last_excluded >= 0 or self._free_before.get(worker) != worker.next_offset

    async def _erase(self, admin: AIOKafkaAdminClient, worker: PartitionWorker, committed: int) -> None:
        partition, excluded = worker.partition, worker.processor.excluded
        last, free_before = worker.last_excluded, committed
        if worker not in self._free_before:
            erased = await self._erased.of(partition.topic, worker.topic_id, excluded.digest)
            last = max(last, await self._search(worker, erased.get(partition.partition, 0), committed))
        if last >= 0:
            before = min(last + 1, committed)
            kept = [offset for offset in await self._unsaved(partition, worker.topic_id) if offset < before]
            before = min([before, *kept])
            # Raises an error if a broker keeps the records.
            await admin.delete_records({partition: RecordsToDelete(before_offset=before)})
            name = worker.processor.route.name
            if not kept:
                log.info(
                    "excluded fields erased", route=name, partition=partition.partition, before=before, notable=True
                )
            elif partition not in self._reported:
                self._reported.add(partition)
                log.warning(
                    "a dead letter whose event only the topic has keeps excluded fields there: resolve it",
                    route=name,
                    partition=partition.partition,
                    offset=before,
                    notable=True,
                )
            free_before = before if kept else committed
        await self._erased.store(partition.topic, worker.topic_id, partition.partition, excluded.digest, free_before)
        if free_before == committed:
            self._free_before[worker] = committed
            if worker.last_excluded < committed:
                worker.last_excluded = -1

    async def _search(self, worker: PartitionWorker, start: int, committed: int) -> int:
        """The offset of the last applied record with an excluded field, from `start` on; -1 if there is none."""
        partition, found = worker.partition, -1
        topic = Topic(partition.topic, worker.topic_id, [partition.partition])
        async with consumer_of_topics(self._kafka, [topic], client_id=CLIENT) as consumer:
            kept = (await offset_ranges(consumer, [partition]))[partition]
            ranges = {partition: (max(kept.begin, start), min(committed, kept.end))}
            if ranges[partition][0] < ranges[partition][1]:
                async with aclosing(read_until(consumer, ranges)) as records:
                    async for record in records:
                        if worker.processor.excluded.are_in(record.value):
                            found = record.offset
        return found
