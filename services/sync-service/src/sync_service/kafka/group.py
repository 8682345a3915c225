"""The member of the consumer group: gets partitions, hands their records to workers, gives them back."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from service_kit.background import TaskEnded, failure_of, stray_cancellations
from service_kit.kafka import KafkaClients, stop
from service_kit.kafka_diagnosis import names_in
from sync_service.apply.processor import RouteProcessor
from sync_service.kafka.admin import committed_offsets, offset_ranges
from sync_service.kafka.clients import ISOLATION, REQUEST_TIMEOUT_MS, ends_by_new_connection, is_readable
from sync_service.kafka.commits import OffsetCommits
from sync_service.kafka.deadlines import within
from sync_service.kafka.gaps import Gaps
from sync_service.kafka.group_problems import CLIENT_ID, ForeignMembers, explain_refusal
from sync_service.kafka.partition import PartitionWorker
from sync_service.kafka.placement import Placement, placement
from sync_service.kafka.progress import Progress
from sync_service.kafka.route_topics import RouteTopics, TopicRecreated
from sync_service.metrics import SyncMetrics
from sync_service.settings import Settings
from sync_service.sinks.base import Unavailable

log = structlog.get_logger(__name__)

POLL_MS = 200
PAUSED_FETCH_WAIT_MS = 20
TOPICS_CHECK_SECONDS = 5.0
MEMBERS_CHECK_SECONDS = 20.0
# After so long the partitions are noticed that a topic has been given.
METADATA_MAX_AGE_MS = 30_000
# After the first failure; it doubles with each one more, up to the second figure.
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 8.0
LAG_SECONDS = 2.0
# Of the lag's two questions about offsets.
ENDS_SECONDS = 0.9
PLACE_SECONDS = 15.0
# At most; with a short session timeout less, so that the batches in flight are committed before it is over.
CLOSE_SECONDS, CLOSE_SHARE = 5.0, 0.5
COMMIT_SECONDS, COMMIT_SHARE = 2.0, 0.25
# For leaving the group. All three together are less than the 10 seconds that a service has to end.
LEAVE_SECONDS = 2.0
# The broker answers who joins when all others have, or have had the session timeout for it.
JOIN_MARGIN_MS = 2000
WATCHDOG_CLIENT_ID = "sync-service-watchdog"
WAY_ON = "have the connector take a snapshot, or run sync-service reconcile --repair; reconcile ends the doubt"


class ConsumerGroupMember(ConsumerRebalanceListener):  # type: ignore[misc]  # published without type information
    """Runs until `stop`, with a new consumer whenever the broker was lost.

    `problem` says why nothing is consumed at the moment; it is None while the member polls.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaClients,
        processors: Mapping[str, RouteProcessor],
        metrics: SyncMetrics,
        gaps: Gaps,
    ) -> None:
        """`processors` by topic."""
        self._settings = settings
        self._gaps = gaps
        self._kafka = kafka
        self._metrics = metrics
        self._processors = processors
        self.topics = RouteTopics(kafka, processors)
        self._consumer: AIOKafkaConsumer | None = None
        self._workers: dict[TopicPartition, PartitionWorker] = {}
        self._commits = OffsetCommits(self._commit)
        self._assignments = 0
        # Partitions whose place has to be looked up before they are read; the offset is where reading failed.
        self._unplaced: dict[TopicPartition, int | None] = {}
        self._place_at = 0.0
        # Where this process was in them when it gave them up, with the id of the topic.
        self._reached: dict[TopicPartition, OffsetAndMetadata] = {}
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._failures = 0
        self._reported: str | None = None
        self._members_checked_at = 0.0
        self._foreign_members = ForeignMembers(kafka, settings.sync_group_id)
        session_seconds = settings.sync_session_timeout_ms / 1000
        self._close_seconds = min(CLOSE_SECONDS, session_seconds * CLOSE_SHARE)
        self._commit_seconds = min(COMMIT_SECONDS, session_seconds * COMMIT_SHARE)
        self.problem: str | None = "not started yet"
        # Of a group that others take part in, too: what this process has is consumed.
        self.group_problem: str | None = None

    def stop(self) -> None:
        self._stopping.set()

    @property
    def workers(self) -> Sequence[PartitionWorker]:
        return tuple(self._workers.values())

    async def run(self) -> None:
        """Consume until `stop`. Raises what a worker can't go on from."""
        while not self._stopping.is_set():
            try:
                with stray_cancellations(KafkaError):
                    await self._refresh_and_consume()
            except TopicRecreated:
                continue
            except (KafkaError, TimeoutError, OSError, TaskEnded) as error:
                await self._note_problem(error)
                await self._wait(min(RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), LONGEST_RETRY_SECONDS))

    async def _refresh_and_consume(self) -> None:
        # What was found while the last consumer was closed.
        self._raise_failures()
        await self.topics.refresh()
        if self.topics.readable:
            await self._consume()
        else:
            self.problem = None
            await self._wait(TOPICS_CHECK_SECONDS)

    async def lag(self) -> dict[str, int]:
        """Events of the own partitions that are not done with, by topic, without the `unplaced_topics`.

        Raises `KafkaError`, as `progress` does.
        """
        lag = dict.fromkeys(self._processors, 0)
        for partition, progress in (await self.progress()).items():
            lag[partition.topic] += progress.lag
        return {topic: events for topic, events in lag.items() if topic not in self.unplaced_topics}

    @property
    def unplaced_topics(self) -> frozenset[str]:
        """Those of whose partitions it is not known yet where they begin, so that their lag is unknown, too."""
        return frozenset(partition.topic for partition in self._unplaced if partition in self._workers)

    async def progress(self) -> dict[TopicPartition, Progress]:
        """How far each of the own partitions is. Raises `KafkaError`, after `LAG_SECONDS` at the latest."""
        consumer, done = self._consumer, self._done()
        if consumer is None or not done:
            return {}
        with stray_cancellations(KafkaError):
            async with within(LAG_SECONDS, "no answer"):
                return self._progress_to(await end_offsets(consumer, list(done)))

    async def progress_by_new_connection(self) -> dict[TopicPartition, Progress]:
        """The same, asked without the consumer: it may be at fault. Raises `KafkaError`."""
        if not (done := self._done()):
            return {}
        return self._progress_to(await ends_by_new_connection(self._kafka, list(done), client_id=WATCHDOG_CLIENT_ID))

    def last_known_progress(self) -> dict[TopicPartition, Progress]:
        """The same without asking the broker: to the ends that came with the latest fetch."""
        consumer = self._consumer
        return {} if consumer is None else self._progress_to(_fetched_ends(consumer, list(self._done())))

    async def stalls(self, partition: TopicPartition) -> bool:
        """Of a partition that stands still: is it this process that stalls, and not the broker?"""
        worker = self._workers.get(partition)
        if worker is None or worker.next_offset is None:
            return False
        if not worker.is_idle:
            return True
        return await is_readable(self._kafka, partition, worker.next_offset, client_id=WATCHDOG_CLIENT_ID)

    def _done(self) -> dict[TopicPartition, int]:
        return {worker.partition: worker.next_offset for worker in self.workers if worker.next_offset is not None}

    def _progress_to(self, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, Progress]:
        """Of the partitions that are still the own ones."""
        return {
            worker.partition: Progress(
                done=worker.next_offset, end=ends[worker.partition], oldest_seconds=worker.oldest_seconds
            )
            for worker in self.workers
            if worker.next_offset is not None and worker.partition in ends
        }

    async def _consume(self) -> None:
        consumer = self._kafka.consumer(
            group_id=self._settings.sync_group_id,
            client_id=CLIENT_ID,
            enable_auto_commit=False,
            # Where a partition begins is decided in `_place`, so that no gap is passed over in silence.
            auto_offset_reset="none",
            isolation_level=ISOLATION,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            session_timeout_ms=self._settings.sync_session_timeout_ms,
            heartbeat_interval_ms=self._settings.sync_session_timeout_ms // 4,
            rebalance_timeout_ms=self._settings.sync_session_timeout_ms,
            request_timeout_ms=self._settings.sync_session_timeout_ms + JOIN_MARGIN_MS,
            fetch_max_wait_ms=self._settings.sync_fetch_max_wait_ms,
        )
        consumer.subscribe(list(self.topics.readable), listener=self)
        # The partitions are assigned while it starts.
        self._consumer = consumer
        self._commits.forget()
        committing = asyncio.create_task(self._commits.run(), name="commits")
        try:
            await consumer.start()
            self.problem = None
            checked = time.monotonic()
            while not self._stopping.is_set() and self.topics.readable:
                self._failure = self._failure or failure_of(committing)
                await self._poll(consumer)
                self._failures, self._reported = 0, None
                if time.monotonic() - checked > TOPICS_CHECK_SECONDS:
                    await self._refresh_topics(consumer)
                    await self._check_members(consumer)
                    checked = time.monotonic()
        finally:
            await self._close(list(self._workers))
            committing.cancel()
            self._consumer = None
            try:
                await _leave(consumer)
            finally:
                # Partitions may have been assigned while it was stopping.
                await self._close(list(self._workers))

    async def _refresh_topics(self, consumer: AIOKafkaConsumer) -> None:
        """Read what can be read by now. Raises `TopicRecreated`."""
        before = self.topics.readable.keys()
        await self.topics.refresh()
        if self.topics.readable and self.topics.readable.keys() != before:
            # What is done is committed as long as the partitions are ours.
            await self._close(list(self._workers))
            consumer.subscribe(list(self.topics.readable), listener=self)

    async def _check_members(self, consumer: AIOKafkaConsumer) -> None:
        """Who else is in the group. One that is no sync-service takes events, and nothing else would show it."""
        now, is_quiet = time.monotonic(), self.group_problem is None and not self._foreign_members.suspects_some
        if is_quiet and now - self._members_checked_at < MEMBERS_CHECK_SECONDS:
            return
        self._members_checked_at = now
        before, self.group_problem = self.group_problem, await self._foreign_members.problem(generation_of(consumer))
        if self.group_problem not in {None, before}:
            log.warning("the group is shared", reason=self.group_problem, notable=True)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        await self._place(consumer)
        self._hold_unplaced(consumer)
        assignments = self._assignments
        try:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
        except NoOffsetForPartitionError as error:
            self._unplaced.update(dict.fromkeys(error.args))
            return
        except TopicAuthorizationFailedError as error:
            self.topics.deny(*names_in(error))
            await self._refresh_topics(consumer)
            return
        except OffsetOutOfRangeError as error:
            # If its topic was created again, offsets say nothing about what is missing.
            await self._refresh_topics(consumer)
            self._unplaced.update(error.args[0])
            return
        self._raise_failures()
        if self._assignments != assignments:
            # It is not known which of two assignments a batch is of: they are placed, and fetched, again.
            return
        for partition, records in batches.items():
            if partition in self._unplaced:
                # Fetched before it was held. It is fetched again from where the partition is placed.
                continue
            worker = self._workers[partition]
            worker.accept(records)
            if worker.is_full:
                consumer.pause(partition)
        self._set_fetch_wait(consumer)
        await self._skip_unreadable(consumer)

    def _hold_unplaced(self, consumer: AIOKafkaConsumer) -> None:
        """Fetch nothing from partitions without a place: the consumer's position in them means nothing."""
        for partition in self._unplaced:
            if (worker := self._workers.get(partition)) is None:
                continue
            consumer.pause(partition)
            if worker.next_offset is None:
                # Any position: aiokafka fetches nothing from a broker while one of its partitions has none.
                consumer.seek(partition, 0)

    def _set_fetch_wait(self, consumer: AIOKafkaConsumer) -> None:
        """Let no fetch wait long while a partition is paused.

        aiokafka has one fetch under way for all partitions of a broker. Those that are resumed meanwhile are not in it:
        a partition that is read from its beginning came to a third of its rate with fetches of 500 ms.
        """
        longest_ms = self._settings.sync_fetch_max_wait_ms
        is_paused = any(worker.is_full for worker in self.workers)
        wait_ms = min(longest_ms, PAUSED_FETCH_WAIT_MS) if is_paused else longest_ms
        consumer._fetcher._fetch_max_wait_ms = wait_ms  # noqa: SLF001 - of each fetch, and there is no other way

    async def _skip_unreadable(self, consumer: AIOKafkaConsumer) -> None:
        """Note how far the consumer is where no records are: the end of a log may be markers of transactions."""
        for partition, worker in self._workers.items():
            if worker.is_idle and worker.next_offset is not None and partition not in self._unplaced:
                worker.skip_to(await consumer.position(partition))

    async def _place(self, consumer: AIOKafkaConsumer) -> None:
        """Have new partitions be read from where the group is, or from their beginning.

        One that has been read already is placed when all that was read of it is done with, so that the offset which
        is committed then does not pass over events in work.
        """
        partitions = [each for each in self._unplaced if each in self._workers and self._workers[each].is_idle]
        if not partitions or time.monotonic() < self._place_at:
            return
        assignments = self._assignments
        async with within(PLACE_SECONDS, "the offsets to begin at could not be read"):
            async with self._kafka.started(self._kafka.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)) as admin:
                committed = await committed_offsets(admin, self._settings.sync_group_id, partitions)
            kept = await offset_ranges(consumer, partitions)
        if self._assignments != assignments:
            return
        places = {}
        for partition in partitions:
            topic_id, failed_at = self.topics.readable[partition.topic].id, self._unplaced[partition]
            known = committed.get(partition) or self._reached.get(partition)
            if failed_at is not None:
                known = OffsetAndMetadata(failed_at, topic_id)
            places[partition] = placement(partition, topic_id, kept[partition], known)
        recorded = await self._record_gaps(places)
        if self._assignments != assignments:
            return
        placed = {partition: place for partition, place in places.items() if recorded or not place.gaps}
        for partition, place in placed.items():
            consumer.seek(partition, place.offset)
            del self._unplaced[partition]
            self._workers[partition].start_at(place.offset, commit=place.why is not None)
            consumer.resume(partition)
        _log_beginnings(placed)

    async def _record_gaps(self, places: Mapping[TopicPartition, Placement]) -> bool:
        """A gap is passed over only when it is stored that there is one. False: MySQL does not answer."""
        gaps = [gap for place in places.values() for gap in place.gaps]
        if not gaps:
            return True
        try:
            await self._gaps.record(gaps)
        except Unavailable as error:
            for worker in self._workers_with_gaps(places):
                worker.note_failure(error)
            self._place_at = time.monotonic() + RETRY_SECONDS
            return False
        for worker in self._workers_with_gaps(places):
            worker.note_recovery()
        for gap in gaps:
            name = self._processors[gap.topic].route.name
            log.warning("the copy is in doubt", route=name, reason=str(gap), way_on=WAY_ON, notable=True)
        return True

    def _workers_with_gaps(self, places: Mapping[TopicPartition, Placement]) -> list[PartitionWorker]:
        return [self._workers[each] for each, place in places.items() if place.gaps and each in self._workers]

    def _raise_failures(self) -> None:
        for worker in self.workers:
            # One whose partition is still ours was not asked to end.
            self._failure = self._failure or failure_of(worker.task)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """aiokafka calls it before the first record of these partitions can come."""
        self._assignments += 1
        self._metrics.rebalances.inc()
        for partition in assigned:
            self._workers[partition] = self._worker(partition)
            self._unplaced[partition] = None
        log.info("partitions assigned", count=len(self._workers))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The batches in flight are finished and committed before other members get the partitions."""
        self._assignments += 1
        await self._close(revoked)

    async def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if self._consumer is not None:
            await self._consumer.commit(dict(offsets))

    def _worker(self, partition: TopicPartition) -> PartitionWorker:
        consumer = self._consumer

        def resume() -> None:
            if consumer is not None and partition in consumer.assignment() and partition not in self._unplaced:
                consumer.resume(partition)

        topic_id = self.topics.readable[partition.topic].id
        return PartitionWorker(
            partition,
            self._processors[partition.topic],
            topic_id,
            on_done=partial(self._commits.note, partition, topic_id),
            on_room=resume,
        )

    async def _close(self, partitions: Iterable[TopicPartition]) -> None:
        closing = [self._workers.pop(partition) for partition in list(partitions) if partition in self._workers]
        for worker in closing:
            self._unplaced.pop(worker.partition, None)
        if not closing:
            return
        tasks = [asyncio.create_task(worker.close()) for worker in closing]
        _, late = await asyncio.wait(tasks, timeout=self._close_seconds)
        if late:
            log.warning("gave up on writes that do not end", partitions=len(late))
        for worker in closing:
            if worker.next_offset is not None:
                self._reached[worker.partition] = OffsetAndMetadata(worker.next_offset, worker.topic_id)
            worker.task.cancel()
            if worker.task.done() and not worker.task.cancelled():
                self._failure = worker.task.exception() or self._failure
        try:
            async with within(self._commit_seconds, "no answer"):
                await self._commits.flush()
        except KafkaError as error:
            log.warning(
                "offsets are not committed; the events since the last commit come again and are skipped",
                partitions=sorted(f"{each.partition.topic}-{each.partition.partition}" for each in closing),
                reason=" ".join(str(error).split()),
            )

    async def _note_problem(self, error: Exception) -> None:
        """In the log once, however often the same is tried again."""
        if (refused := await explain_refusal(self._kafka, self._settings, error)) is not None:
            problem = f"Kafka: {refused}"
        elif isinstance(error, TaskEnded):
            problem = f"consuming starts again: {error}"
        else:
            problem = f"Kafka: {await self._kafka.explain(error)}"
        self._failures += 1
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


async def end_offsets(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The offsets after the last events. Raises `KafkaError` if no partition's is to be had.

    A partition without a leader spoils the answer for all. Then each is asked by itself, and one that has no answer
    ends where it was last seen to: without a leader nothing comes to it. One that was revoked meanwhile is left out.
    """
    try:
        async with within(ENDS_SECONDS, "no answer"):
            return dict(await consumer.end_offsets(list(partitions)))
    except KafkaError:
        pass

    async def end(partition: TopicPartition) -> int:
        async with within(ENDS_SECONDS, "no answer"):
            return int((await consumer.end_offsets([partition]))[partition])

    answers = dict(zip(partitions, await asyncio.gather(*map(end, partitions), return_exceptions=True), strict=True))
    ends = {partition: answer for partition, answer in answers.items() if isinstance(answer, int)}
    failures = [answer for answer in answers.values() if isinstance(answer, BaseException)]
    if failures and not ends:
        raise failures[0]
    return {**_fetched_ends(consumer, partitions), **ends}


def _fetched_ends(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """As of the latest fetch, or 0. A partition that is not assigned any more is left out: aiokafka asserts that."""
    assigned = consumer.assignment()
    return {partition: consumer.highwater(partition) or 0 for partition in partitions if partition in assigned}


def _log_beginnings(places: Mapping[TopicPartition, Placement]) -> None:
    """Once for the partitions of a topic."""
    beginnings: dict[tuple[str, str], list[int]] = {}
    for partition, place in places.items():
        if place.why is not None:
            beginnings.setdefault((partition.topic, place.why), []).append(partition.partition)
    for (topic, why), numbers in beginnings.items():
        log.info("read from the beginning", topic=topic, partitions=sorted(numbers), why=why, notable=True)


async def _leave(consumer: AIOKafkaConsumer) -> None:
    """Stop it. A broker that hangs is not waited for: its requests fail when the connections are closed."""
    stopping = asyncio.create_task(stop(consumer))
    _, late = await asyncio.wait([stopping], timeout=LEAVE_SECONDS)
    if late:
        await consumer._client.close()  # noqa: SLF001 - stop() has no deadline
    await stopping


def generation_of(consumer: AIOKafkaConsumer) -> int:
    """Of the group as this member knows it; below 1 while it is not in the group."""
    return int(consumer._coordinator.generation)  # noqa: SLF001 - there is no other way
