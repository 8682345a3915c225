"""The member of the consumer group: takes assigned partitions, passes their records to workers, and gives them back."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from service_kit.background import TaskEnded, failure_of, stray_cancellations
from service_kit.kafka import KafkaClients, stop
from service_kit.kafka_diagnosis import names_in
from service_kit.retry import Backoff
from sync_service.apply.processor import RouteProcessor
from sync_service.apply.stops import RouteStopped
from sync_service.kafka.assignment import Assignment
from sync_service.kafka.clients import ISOLATION
from sync_service.kafka.commits import OffsetCommits
from sync_service.kafka.deadlines import within
from sync_service.kafka.gaps import Gaps
from sync_service.kafka.group_problems import CLIENT_ID, ForeignMembers, explain_refusal
from sync_service.kafka.lag import LagReader
from sync_service.kafka.members import MarkingAssignor
from sync_service.kafka.partition import PartitionWorker
from sync_service.kafka.placer import PartitionPlacer
from sync_service.kafka.route_topics import RouteTopics, TopicRecreated
from sync_service.kafka.stops import Skip, Stop, Stops
from sync_service.metrics import SyncMetrics
from sync_service.settings import Settings

log = structlog.get_logger(__name__)

POLL_MS = 200
# Nothing more is fetched while the partitions of this process together hold more. So the memory in use does not grow
# with the size of the records times the number of partitions. One fetch may exceed it, by `FETCH_BYTES` or one record.
BYTES_HELD = 48 * 1024 * 1024
FETCH_BYTES = 16 * 1024 * 1024
PAUSED_FETCH_WAIT_MS = 20
TOPICS_CHECK_SECONDS = 5.0
MEMBERS_CHECK_SECONDS = 20.0
# The longest time until new partitions of a topic are noticed.
METADATA_MAX_AGE_MS = 30_000
# Between two consumers. Not by `Retrier.run`: the failures count from 1 again after each successful poll.
BACKOFF = Backoff(initial=1.0, maximum=8.0)
# The limit for closing workers. It is lower with a short session timeout, so that the batches in flight are committed
# before the session ends.
CLOSE_SECONDS, CLOSE_SHARE = 5.0, 0.5
COMMIT_SECONDS, COMMIT_SHARE = 2.0, 0.25
# After this time a write that was cancelled has ended in its store: MongoDB's has a limit of 5 seconds, and MySQL is
# asked by another connection to end it, within 2 seconds.
GIVEN_UP_SECONDS = 10.0
# The limits for leaving the group, and for ending what does not end by then. All of them together are less than the 10
# seconds that a service has to stop.
LEAVE_SECONDS, END_SECONDS = 2.0, 1.0
# The broker answers a join when all members have joined, or when the session timeout is over.
JOIN_MARGIN_MS = 2000


class ConsumerGroupMember(ConsumerRebalanceListener):  # type: ignore[misc]  # published without type information
    """Consumes until `stop`, with a new consumer whenever the broker was lost.

    `problem` says why nothing is consumed at the moment; it is None while the member polls.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaClients,
        processors: Mapping[str, RouteProcessor],
        metrics: SyncMetrics,
        *,
        gaps: Gaps,
        stops: Stops,
    ) -> None:
        """`processors` by topic."""
        self._settings = settings
        self._kafka = kafka
        self._metrics = metrics
        self._processors = processors
        self._stops = stops
        self.topics = RouteTopics(kafka, processors)
        self._assignment = Assignment()
        self.lag = LagReader(kafka, self._assignment, processors.keys())
        self._placer = PartitionPlacer(
            kafka,
            settings.sync_group_id,
            self._assignment,
            topics=self.topics,
            gaps=gaps,
            stops=stops,
            processors=processors,
        )
        # Their last writes may be under way.
        self._closing: set[PartitionWorker] = set()
        # By topic, the time at which writes that were given up have ended in their store.
        self._given_up_until: dict[str, float] = {}
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._failures = 0
        self._is_limited = False
        self._reported: str | None = None
        self._members_checked_at = 0.0
        self._foreign_members = ForeignMembers(kafka, settings.sync_group_id)
        session_seconds = settings.sync_session_timeout_ms / 1000
        self._close_seconds = min(CLOSE_SECONDS, session_seconds * CLOSE_SHARE)
        self._commit_seconds = min(COMMIT_SECONDS, session_seconds * COMMIT_SHARE)
        # A commit that is under way when partitions are closed leaves time for the last one.
        self._commits = OffsetCommits(self._commit, seconds=self._commit_seconds / 2)
        self.problem: str | None = "not started yet"
        self._stepped_at = time.monotonic()
        # Other clients are members of the group, too. The partitions of this process are consumed all the same.
        self.group_problem: str | None = None

    def stop(self) -> None:
        self._stopping.set()

    def inherit_writes(self, former: "ConsumerGroupMember") -> None:
        """Count the last writes of a member that has ended as those of this one."""
        self._closing |= former._closing  # noqa: SLF001 - of this class
        self._given_up_until |= former._given_up_until  # noqa: SLF001

    @property
    def idle_seconds(self) -> float:
        """The time since the member has polled, or has noted a failure."""
        return time.monotonic() - self._stepped_at

    @property
    def member_id(self) -> str:
        """As the broker knows this process; empty while it is in no group."""
        consumer = self._assignment.consumer
        coordinator = None if consumer is None else consumer._coordinator  # noqa: SLF001 - aiokafka has no public name
        return str(getattr(coordinator, "member_id", ""))

    @property
    def workers(self) -> Sequence[PartitionWorker]:
        return self._assignment.all_workers()

    async def run(self) -> None:
        """Consume until `stop`."""
        while not self._stopping.is_set():
            try:
                with stray_cancellations(KafkaError):
                    await self._refresh_and_consume()
            except TopicRecreated:
                continue
            except (KafkaError, TimeoutError, OSError, TaskEnded) as error:
                await self._note_problem(error)
                await self._wait(BACKOFF.delay(self._failures))

    async def _refresh_and_consume(self) -> None:
        # An error that was found while the last consumer was closed.
        self._raise_failures()
        self._stepped_at = time.monotonic()
        await self.topics.refresh()
        if self.topics.readable:
            await self._consume()
        else:
            self.problem = None
            await self._wait(TOPICS_CHECK_SECONDS)

    async def _consume(self) -> None:
        consumer = self._kafka.consumer(
            group_id=self._settings.sync_group_id,
            client_id=CLIENT_ID,
            partition_assignment_strategy=(MarkingAssignor,),
            enable_auto_commit=False,
            # The placer decides where a partition begins, so that no gap is skipped silently.
            auto_offset_reset="none",
            isolation_level=ISOLATION,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            session_timeout_ms=self._settings.sync_session_timeout_ms,
            heartbeat_interval_ms=self._settings.sync_session_timeout_ms // 4,
            rebalance_timeout_ms=self._settings.sync_session_timeout_ms,
            request_timeout_ms=self._settings.sync_session_timeout_ms + JOIN_MARGIN_MS,
            fetch_max_wait_ms=self._settings.sync_fetch_max_wait_ms,
            fetch_max_bytes=FETCH_BYTES,
        )
        consumer.subscribe(list(self.topics.readable), listener=self)
        # Partitions are assigned during its start.
        self._assignment.consumer = consumer
        self._commits.forget_all()
        committing = asyncio.create_task(self._commits.run(), name="commits")
        try:
            await consumer.start()
            self.problem = None
            checked = time.monotonic()
            while not self._stopping.is_set() and self.topics.readable:
                self._failure = self._failure or failure_of(committing)
                await self._poll(consumer)
                self._stepped_at = time.monotonic()
                self._failures, self._reported = 0, None
                if time.monotonic() - checked > TOPICS_CHECK_SECONDS:
                    await self._refresh_topics(consumer)
                    await self._check_members(consumer)
                    checked = time.monotonic()
        finally:
            self.problem = self.problem or "Kafka: leaving the consumer group"
            await self._close_all()
            committing.cancel()
            self._assignment.consumer = None
            try:
                await _leave(consumer)
            finally:
                # Partitions may have been assigned during the stop.
                await self._close_all()

    async def _refresh_topics(self, consumer: AIOKafkaConsumer) -> None:
        """Subscribe to the topics that can be read now. Raises `TopicRecreated`."""
        before = self.topics.readable.keys()
        await self.topics.refresh()
        if self.topics.readable and self.topics.readable.keys() != before:
            # Offsets can be committed only as long as this process has the partitions.
            await self._close_all()
            consumer.subscribe(list(self.topics.readable), listener=self)

    async def _check_members(self, consumer: AIOKafkaConsumer) -> None:
        """Report members of the group that are no sync-service: they take events, and no other symptom shows it."""
        now, is_quiet = time.monotonic(), self.group_problem is None and not self._foreign_members.suspects_some
        if is_quiet and now - self._members_checked_at < MEMBERS_CHECK_SECONDS:
            return
        self._members_checked_at = now
        before, self.group_problem = self.group_problem, await self._foreign_members.problem(generation_of(consumer))
        if self.group_problem not in {None, before}:
            log.warning("the group is shared", reason=self.group_problem, notable=True)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        assignment = self._assignment
        await self._placer.place(consumer)
        self._hold_stopped(consumer)
        self._placer.hold_unplaced(consumer)
        generation = assignment.generation
        try:
            self._limit_memory(consumer)
            batches = await consumer.getmany(timeout_ms=POLL_MS)
        except NoOffsetForPartitionError as error:
            assignment.unplaced.update(dict.fromkeys(error.args))
            return
        except TopicAuthorizationFailedError as error:
            self.topics.deny(*names_in(error))
            await self._refresh_topics(consumer)
            return
        except OffsetOutOfRangeError as error:
            # If the topic was created again, offsets say nothing about missing events.
            await self._refresh_topics(consumer)
            assignment.unplaced.update(error.args[0])
            return
        self._raise_failures()
        if assignment.generation != generation:
            # The batch may belong to the assignment before the rebalance. Its partitions are placed and fetched again.
            return
        for partition, records in batches.items():
            if partition in assignment.unplaced:
                # Fetched before it was paused. It is fetched again from the offset at which it is placed.
                continue
            worker = assignment.workers[partition]
            worker.accept(records)
            if worker.is_full:
                consumer.pause(partition)
        self._set_fetch_wait(consumer)
        await self._skip_unreadable(consumer)

    def _limit_memory(self, consumer: AIOKafkaConsumer) -> None:
        """Pause all partitions while they hold more than `BYTES_HELD`."""
        was_limited, self._is_limited = self._is_limited, sum(each.bytes_held for each in self.workers) > BYTES_HELD
        if self._is_limited:
            consumer.pause(*consumer.assignment())
        elif was_limited:
            with_room = {worker.partition for worker in self.workers if not worker.is_full and not worker.is_held}
            consumer.resume(*(with_room & consumer.assignment()) - self._assignment.unplaced.keys())

    def _hold_stopped(self, consumer: AIOKafkaConsumer) -> None:
        """Fetch nothing for stopped routes. After a resume their partitions are placed again."""
        for partition, worker in self._assignment.workers.items():
            if self._stops.is_stopped(partition.topic):
                worker.hold()
                consumer.pause(partition)
            elif worker.is_held and worker.is_idle:
                self._assignment.unplaced.setdefault(partition, worker.next_offset)

    def holds(self, topic: str) -> bool:
        """Apply no more events of a stopped topic. Is no write of one under way?"""
        workers = [worker for worker in self.workers if worker.partition.topic == topic]
        for worker in workers:
            worker.hold()
        is_closing = any(worker.partition.topic == topic and not worker.task.done() for worker in self._closing)
        is_closing = is_closing or time.monotonic() < self._given_up_until.get(topic, 0.0)
        return not is_closing and all(worker.is_idle for worker in workers)

    async def settle_skips(self) -> None:
        """Forget the skips that are done: the group has committed an offset after their events.

        Raises `KafkaError`, `Unavailable`.
        """
        workers = self._assignment.workers
        passed: dict[Skip, PartitionWorker] = {}
        for skip in self._stops.skips:
            worker = workers.get(TopicPartition(skip.topic, skip.partition))
            if worker is not None and worker.topic_id == skip.topic_id and (worker.next_offset or 0) >= skip.end:
                passed[skip] = worker
        if not passed:
            return
        failed = await self._commits.flush()
        # If the worker was closed meanwhile its last offset may not be committed.
        done = [
            skip
            for skip, worker in passed.items()
            if workers.get(worker.partition) is worker and worker.partition not in failed
        ]
        if done:
            await self._stops.forget_skips(done)

    def _set_fetch_wait(self, consumer: AIOKafkaConsumer) -> None:
        """Let no fetch wait long while a partition is paused.

        aiokafka has one fetch under way for all partitions of a broker, without those that are resumed meanwhile. With
        fetches of 500 ms, a partition that is read from its beginning reached a third of its rate.
        """
        longest_ms = self._settings.sync_fetch_max_wait_ms
        is_paused = any(worker.is_full for worker in self.workers)
        wait_ms = min(longest_ms, PAUSED_FETCH_WAIT_MS) if is_paused else longest_ms
        consumer._fetcher._fetch_max_wait_ms = wait_ms  # noqa: SLF001 - aiokafka has no public setting for each fetch

    async def _skip_unreadable(self, consumer: AIOKafkaConsumer) -> None:
        """Follow the consumer's position where there are no records: a log may end with transaction markers."""
        for partition, worker in self._assignment.workers.items():
            if worker.is_idle and worker.next_offset is not None and partition not in self._assignment.unplaced:
                worker.skip_to(await consumer.position(partition))

    def _raise_failures(self) -> None:
        for worker in self.workers:
            # A worker whose partition is still assigned was not asked to end.
            self._failure = self._failure or failure_of(worker.task)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """aiokafka calls it before the first record of these partitions can come."""
        assignment = self._assignment
        assignment.generation += 1
        self._metrics.rebalances.inc()
        for partition in assigned:
            assignment.workers[partition] = self._worker(partition)
            assignment.unplaced[partition] = None
        log.info("partitions assigned", count=len(assignment.workers))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish and commit the batches in flight before other members get the partitions."""
        self._assignment.generation += 1
        await self._close(revoked)

    async def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Without partitions that are lost. aiokafka would refuse the whole commit."""
        if (consumer := self._assignment.consumer) is None:
            return
        assigned = consumer.assignment()
        if kept := {partition: offset for partition, offset in offsets.items() if partition in assigned}:
            await consumer.commit(kept)

    def _worker(self, partition: TopicPartition) -> PartitionWorker:
        consumer, unplaced = self._assignment.consumer, self._assignment.unplaced

        def resume() -> None:
            is_placed = partition not in unplaced and not self._stops.is_stopped(partition.topic)
            if consumer is not None and is_placed and partition in consumer.assignment():
                consumer.resume(partition)

        topic_id = self.topics.readable[partition.topic].id
        return PartitionWorker(
            partition,
            self._processors[partition.topic],
            topic_id,
            on_done=partial(self._commits.note, partition, topic_id),
            on_room=resume,
            on_stopped=partial(self._note_stopped, partition, topic_id),
        )

    def _note_stopped(self, partition: TopicPartition, topic_id: str, stopped: RouteStopped) -> None:
        stop = Stop(
            topic=partition.topic,
            cause=stopped.cause,
            reason=stopped.reason,
            stopped_at=datetime.now(UTC),
            partition=partition.partition,
            topic_id=topic_id,
            next_offset=stopped.next_offset,
        )
        self._stops.note(stop)
        name = self._processors[partition.topic].route.name
        log.error("route stopped", route=name, cause=stop.cause, reason=str(stop), notable=True)

    async def _close_all(self) -> None:
        await self._close(list(self._assignment.workers))

    async def _close(self, partitions: Iterable[TopicPartition]) -> None:
        workers = self._assignment.workers
        closing = [workers.pop(partition) for partition in list(partitions) if partition in workers]
        if not closing:
            return
        self._closing = {worker for worker in self._closing if not worker.task.done()}.union(closing)
        for worker in closing:
            self._assignment.unplaced.pop(worker.partition, None)
        tasks = [asyncio.create_task(worker.close()) for worker in closing]
        _, late = await asyncio.wait(tasks, timeout=self._close_seconds)
        if late:
            log.warning("gave up on writes that do not end", partitions=len(late))
        for worker in closing:
            self._placer.note_revoked(worker)
            if not worker.task.done():
                self._given_up_until[worker.partition.topic] = time.monotonic() + GIVEN_UP_SECONDS
            worker.task.cancel()
            if worker.task.done() and not worker.task.cancelled():
                self._failure = worker.task.exception() or self._failure
        closed = {worker.partition for worker in closing}
        try:
            async with within(self._commit_seconds, "no answer"):
                failed = closed.intersection(await self._commits.flush())
            if failed:
                _warn_of_uncommitted(failed, "the commits failed")
        except KafkaError as error:
            _warn_of_uncommitted(closed, " ".join(str(error).split()))
        finally:
            self._commits.forget(closed)

    async def _note_problem(self, error: Exception) -> None:
        """Log a problem once, however often the same one occurs in a row."""
        if (refused := await explain_refusal(self._kafka, self._settings, error)) is not None:
            problem = f"Kafka: {refused}"
        elif isinstance(error, TaskEnded):
            problem = f"consuming starts again: {error}"
        else:
            problem = f"Kafka: {await self._kafka.explain(error)}"
        self._failures += 1
        self._stepped_at = time.monotonic()
        self.problem = problem
        if self.problem != self._reported:
            self._reported = self.problem
            log.warning("nothing is consumed", reason=self.problem, error=repr(error))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _warn_of_uncommitted(partitions: Iterable[TopicPartition], reason: str) -> None:
    log.warning(
        "offsets are not committed; the events since the last commit come again and are skipped",
        partitions=sorted(f"{each.topic}-{each.partition}" for each in partitions),
        reason=reason,
    )


async def _leave(consumer: AIOKafkaConsumer) -> None:
    """Stop the consumer. Its `stop` has no deadline while a broker hangs.

    So its connections are closed, which lets its requests fail, and then the task that keeps it in the group is ended:
    without connections it may wait for news of the cluster for ever. What does not end even then is left behind: a new
    consumer does not depend on it.
    """
    stopping = asyncio.create_task(stop(consumer), name="leave the group")
    _, late = await asyncio.wait([stopping], timeout=LEAVE_SECONDS)
    if late:
        disconnecting = asyncio.create_task(_disconnect(consumer), name="disconnect from Kafka")
        _, late = await asyncio.wait([stopping, disconnecting], timeout=END_SECONDS)
    for task in late:
        log.warning("a consumer does not end", task=task.get_name())
        task.cancel()
    if stopping not in late:
        await stopping


async def _disconnect(consumer: AIOKafkaConsumer) -> None:
    await consumer._client.close()  # noqa: SLF001 - aiokafka has no public name for these
    consumer._coordinator._coordination_task.cancel()  # noqa: SLF001


def generation_of(consumer: AIOKafkaConsumer) -> int:
    """The generation of the group as this member knows it; below 1 while it is not in the group."""
    return int(consumer._coordinator.generation)  # noqa: SLF001 - aiokafka has no public attribute for it
