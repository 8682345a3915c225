"""The member of the consumer group: gets partitions, hands their records to workers, gives them back."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from sync_service.consumer.application import RouteApplication
from sync_service.consumer.dead_letters import DEAD_LETTERS_TOPIC
from sync_service.consumer.partition import PartitionWorker
from sync_service.consumer.topic_ids import topic_ids
from sync_service.settings import Settings

log = structlog.get_logger(__name__)

POLL_MS = 200
TOPICS_CHECK_SECONDS = 5.0
RETRY_SECONDS = 1.0
LAG_SECONDS = 2.0
CLOSE_SECONDS = 5.0


class _TopicMadeAnew(Exception):  # noqa: N818 - an event
    """Everything about it is read again, from its beginning."""


class GroupMember(ConsumerRebalanceListener):  # type: ignore[misc]  # published without type information
    """Runs until `stop`, with a new consumer whenever the broker was lost.

    `problem` says why nothing is consumed at the moment; it is None while the member polls.
    """

    def __init__(self, settings: Settings, applications: Mapping[str, RouteApplication]) -> None:
        """`applications` by topic."""
        self._settings = settings
        self._applications = applications
        self._topic_ids: Mapping[str, str] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._workers: dict[TopicPartition, PartitionWorker] = {}
        self._assignments = 0
        self._made_anew: set[str] = set()
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self.problem: str | None = "not started yet"

    def stop(self) -> None:
        self._stopping.set()

    @property
    def workers(self) -> Sequence[PartitionWorker]:
        return tuple(self._workers.values())

    async def run(self) -> None:
        """Consume until `stop`. Raises what a worker can't go on from."""
        while not self._stopping.is_set():
            try:
                await self._note_topic_ids()
                await self._consume()
            except _TopicMadeAnew:
                continue
            except (KafkaError, TimeoutError, OSError) as error:
                self.problem = f"Kafka: {type(error).__name__}: {error}"
                log.warning("the broker does not answer as it should", reason=self.problem)
                await self._pause()

    async def lag(self) -> dict[str, int]:
        """Events of the own partitions that are not done with, by topic.

        Raises `KafkaError`, after `LAG_SECONDS` at the latest.
        """
        try:
            async with asyncio.timeout(LAG_SECONDS):
                return await self._lag()
        except TimeoutError as error:
            raise KafkaTimeoutError(f"no answer within {LAG_SECONDS:g} s") from error

    async def _lag(self) -> dict[str, int]:
        lag = dict.fromkeys(self._applications, 0)
        consumer, workers = self._consumer, self.workers
        if consumer is None or not workers:
            return lag
        ends = await consumer.end_offsets([worker.partition for worker in workers])
        for worker in workers:
            done = worker.next_offset
            if done is None:
                done = await consumer.position(worker.partition)
            lag[worker.partition.topic] += max(0, ends[worker.partition] - done)
        return lag

    async def _note_topic_ids(self) -> None:
        """Raises `_TopicMadeAnew` if offsets mean something else than they did."""
        ids = await topic_ids(self._settings.kafka_bootstrap_servers, [*self._applications, DEAD_LETTERS_TOPIC])
        changed = [topic for topic, known in self._topic_ids.items() if ids[topic] != known]
        for topic in self._applications.keys() & set(changed):
            log.warning("topic made anew", topic=topic, before=self._topic_ids[topic], now=ids[topic], notable=True)
            self._applications[topic].note_new_topic()
        self._topic_ids = ids
        self._made_anew.update(changed)
        if changed:
            raise _TopicMadeAnew

    async def _consume(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            group_id=self._settings.sync_group_id,
            client_id="sync-service",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._settings.sync_session_timeout_ms,
            heartbeat_interval_ms=self._settings.sync_session_timeout_ms // 4,
            rebalance_timeout_ms=self._settings.sync_session_timeout_ms,
            fetch_max_wait_ms=100,
        )
        consumer.subscribe(list(self._applications), listener=self)
        # The partitions are assigned while it starts.
        self._consumer = consumer
        self._failure = None
        try:
            await consumer.start()
            self.problem = None
            checked = time.monotonic()
            while not self._stopping.is_set():
                await self._poll(consumer)
                if time.monotonic() - checked > TOPICS_CHECK_SECONDS:
                    await self._note_topic_ids()
                    checked = time.monotonic()
        finally:
            await self._close(list(self._workers))
            self._consumer = None
            await consumer.stop()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        assignments = self._assignments
        batches = await consumer.getmany(timeout_ms=POLL_MS)
        self._raise_failures()
        if self._made_anew or self._assignments != assignments:
            # Which of two assignments a batch comes from can't be told: start from what is committed.
            await self._rewind(consumer, batches)
            return
        for partition, records in batches.items():
            worker = self._workers.get(partition)
            if worker is None:
                continue
            worker.accept(records)
            if worker.is_full:
                consumer.pause(partition)

    async def _rewind(self, consumer: AIOKafkaConsumer, fetched: Iterable[TopicPartition]) -> None:
        for partition in consumer.assignment():
            if partition.topic in self._made_anew:
                await consumer.seek_to_beginning(partition)
            elif partition in fetched:
                committed = await consumer.committed(partition)
                if committed is None:
                    await consumer.seek_to_beginning(partition)
                else:
                    consumer.seek(partition, committed)
        self._made_anew.clear()

    def _raise_failures(self) -> None:
        for worker in self.workers:
            self._note_failure(worker)
        if self._failure is not None:
            raise self._failure

    def _note_failure(self, worker: PartitionWorker) -> None:
        task = worker.task
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """aiokafka calls it before the first record of these partitions can come."""
        self._assignments += 1
        for partition in assigned:
            self._workers[partition] = self._worker(partition)
        log.info("partitions assigned", count=len(self._workers))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The batches in flight are finished and committed before somebody else gets the partitions."""
        self._assignments += 1
        await self._close(revoked)

    def _worker(self, partition: TopicPartition) -> PartitionWorker:
        consumer = self._consumer

        async def commit(offset: int) -> None:
            if consumer is not None:
                await consumer.commit({partition: offset})

        def resume() -> None:
            if consumer is not None and partition in consumer.assignment():
                consumer.resume(partition)

        return PartitionWorker(
            partition,
            self._applications[partition.topic],
            self._topic_ids[partition.topic],
            commit=commit,
            on_room=resume,
        )

    async def _close(self, partitions: Iterable[TopicPartition]) -> None:
        closing = [self._workers.pop(partition) for partition in list(partitions) if partition in self._workers]
        if not closing:
            return
        tasks = [asyncio.create_task(worker.close()) for worker in closing]
        _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        if late:
            log.warning("gave up on writes that do not end", partitions=len(late))
        for worker in closing:
            worker.task.cancel()
            self._note_failure(worker)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._stopping.wait()
        except TimeoutError:
            pass
