"""The member of the consumer group: gets partitions, hands their records to workers, gives them back."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import InvalidSessionTimeoutError, KafkaError

from service_kit.kafka import KafkaClients, stop
from sync_service.consumer.application import RouteApplication
from sync_service.consumer.commits import OffsetCommits
from sync_service.consumer.deadlines import within
from sync_service.consumer.partition import PartitionWorker
from sync_service.consumer.session_timeout import refused_session_timeout
from sync_service.consumer.topic_ids import topic_ids
from sync_service.consumer.watchdog import Progress
from sync_service.dead_letters.letters import DEAD_LETTERS_TOPIC
from sync_service.metrics import SyncMetrics
from sync_service.settings import Settings

log = structlog.get_logger(__name__)

POLL_MS = 200
TOPICS_CHECK_SECONDS = 5.0
# After the first failure; it doubles with each one more, up to the second figure.
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 8.0
LAG_SECONDS = 2.0
# Of the lag's two questions about offsets, and of a partition's position, which may not be known yet.
ENDS_SECONDS, POSITION_SECONDS = 0.9, 0.1
CLOSE_SECONDS = 5.0
COMMIT_SECONDS = 2.0


class _TopicMadeAnew(Exception):  # noqa: N818 - an event
    """Everything about it is read again, from its beginning."""


class GroupMember(ConsumerRebalanceListener):  # type: ignore[misc]  # published without type information
    """Runs until `stop`, with a new consumer whenever the broker was lost.

    `problem` says why nothing is consumed at the moment; it is None while the member polls.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaClients,
        applications: Mapping[str, RouteApplication],
        metrics: SyncMetrics,
    ) -> None:
        """`applications` by topic."""
        self._settings = settings
        self._kafka = kafka
        self._metrics = metrics
        self._applications = applications
        self._topic_ids: Mapping[str, str] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._workers: dict[TopicPartition, PartitionWorker] = {}
        self._commits = OffsetCommits(self._commit)
        self._assignments = 0
        self._made_anew: set[str] = set()
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._failures = 0
        self._reported: str | None = None
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
                await self._note_problem(error)
                await self._pause()

    async def lag(self) -> dict[str, int]:
        """Events of the own partitions that are not done with, by topic. Raises `KafkaError`, as `progress` does."""
        lag = dict.fromkeys(self._applications, 0)
        for partition, progress in (await self.progress()).items():
            lag[partition.topic] += progress.lag
        return lag

    async def progress(self) -> dict[TopicPartition, Progress]:
        """How far each of the own partitions is. Raises `KafkaError`, after `LAG_SECONDS` at the latest."""
        async with within(LAG_SECONDS, "no answer"):
            return await self._progress()

    async def _progress(self) -> dict[TopicPartition, Progress]:
        consumer, workers = self._consumer, self.workers
        if consumer is None or not workers:
            return {}
        ends = await end_offsets(consumer, [worker.partition for worker in workers])
        done = await asyncio.gather(*(_done(consumer, worker) for worker in workers))
        return {
            worker.partition: Progress(done=offset, end=ends[worker.partition], oldest_ms=worker.oldest_ms)
            for worker, offset in zip(workers, done, strict=True)
        }

    async def _note_topic_ids(self) -> None:
        """Raises `_TopicMadeAnew` if offsets mean something else than they did."""
        ids = await topic_ids(self._kafka, [*self._applications, DEAD_LETTERS_TOPIC])
        changed = [topic for topic, known in self._topic_ids.items() if ids[topic] != known]
        for topic in self._applications.keys() & set(changed):
            log.warning("topic made anew", topic=topic, before=self._topic_ids[topic], now=ids[topic], notable=True)
            self._applications[topic].note_new_topic()
        self._topic_ids = ids
        self._made_anew.update(changed)
        if changed:
            raise _TopicMadeAnew

    async def _consume(self) -> None:
        consumer = self._kafka.consumer(
            group_id=self._settings.sync_group_id,
            client_id="sync-service",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._settings.sync_session_timeout_ms,
            heartbeat_interval_ms=self._settings.sync_session_timeout_ms // 4,
            rebalance_timeout_ms=self._settings.sync_session_timeout_ms,
            fetch_max_wait_ms=self._settings.sync_fetch_max_wait_ms,
        )
        consumer.subscribe(list(self._applications), listener=self)
        # The partitions are assigned while it starts.
        self._consumer = consumer
        self._failure = None
        self._commits.forget()
        committing = asyncio.create_task(self._commits.run(), name="commits")
        try:
            await consumer.start()
            self.problem = None
            checked = time.monotonic()
            while not self._stopping.is_set():
                self._note_failure(committing)
                await self._poll(consumer)
                self._failures, self._reported = 0, None
                if time.monotonic() - checked > TOPICS_CHECK_SECONDS:
                    await self._note_topic_ids()
                    checked = time.monotonic()
        finally:
            await self._close(list(self._workers))
            committing.cancel()
            self._consumer = None
            try:
                await stop(consumer)
            finally:
                # Partitions may have been assigned while it was stopping.
                await self._close(list(self._workers))

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
            self._note_failure(worker.task)
        if self._failure is not None:
            raise self._failure

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """aiokafka calls it before the first record of these partitions can come."""
        self._assignments += 1
        self._metrics.rebalances.inc()
        for partition in assigned:
            self._workers[partition] = self._worker(partition)
        log.info("partitions assigned", count=len(self._workers))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The batches in flight are finished and committed before somebody else gets the partitions."""
        self._assignments += 1
        await self._close(revoked)

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._consumer is not None:
            await self._consumer.commit(dict(offsets))

    def _worker(self, partition: TopicPartition) -> PartitionWorker:
        consumer = self._consumer

        def resume() -> None:
            if consumer is not None and partition in consumer.assignment():
                consumer.resume(partition)

        return PartitionWorker(
            partition,
            self._applications[partition.topic],
            self._topic_ids[partition.topic],
            on_done=partial(self._commits.note, partition),
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
            self._note_failure(worker.task)
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._commits.flush()
        except (KafkaError, TimeoutError) as error:
            log.warning("offsets are not committed, these events will come again", reason=repr(error))

    async def _note_problem(self, error: Exception) -> None:
        """In the log once, however often the same is tried again."""
        if isinstance(error, InvalidSessionTimeoutError):
            reason = await refused_session_timeout(self._kafka, self._settings.sync_session_timeout_ms)
        else:
            reason = await self._kafka.explain(error)
        self._failures += 1
        self.problem = f"Kafka: {reason}"
        if self.problem != self._reported:
            self._reported = self.problem
            log.warning("nothing is consumed", reason=self.problem, error=repr(error))

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(min(RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), LONGEST_RETRY_SECONDS)):
                await self._stopping.wait()
        except TimeoutError:
            pass


async def end_offsets(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The offsets behind the last events. Raises `KafkaError`, `TimeoutError` if no partition's is to be had.

    A partition without a leader spoils the answer for all. Then each is asked by itself, and one that has no answer
    ends where it was last seen to: without a leader nothing comes to it.
    """
    try:
        async with asyncio.timeout(ENDS_SECONDS):
            return dict(await consumer.end_offsets(list(partitions)))
    except (KafkaError, TimeoutError):
        pass

    async def end(partition: TopicPartition) -> int:
        async with asyncio.timeout(ENDS_SECONDS):
            return int((await consumer.end_offsets([partition]))[partition])

    answers = await asyncio.gather(*map(end, partitions), return_exceptions=True)
    failures = [each for each in answers if isinstance(each, BaseException)]
    if len(failures) == len(answers):
        raise failures[0]
    return {
        partition: (consumer.highwater(partition) or 0) if isinstance(answer, BaseException) else answer
        for partition, answer in zip(partitions, answers, strict=True)
    }


async def _done(consumer: AIOKafkaConsumer, worker: PartitionWorker) -> int:
    """The offset behind the last event that is done with; the topic's beginning while nobody knows where it was."""
    if worker.next_offset is not None:
        return worker.next_offset
    try:
        async with asyncio.timeout(POSITION_SECONDS):
            return int(await consumer.position(worker.partition))
    except TimeoutError:
        return 0
