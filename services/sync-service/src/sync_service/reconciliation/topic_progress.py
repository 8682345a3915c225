"""The progress of the sync in a route's topic, and the newest event of the topic."""

import asyncio
import time
from collections.abc import Mapping
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from service_kit.background import stray_cancellations
from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import describe_topics_by
from sync_service.debezium.envelope import decode
from sync_service.debezium.errors import InvalidEvent
from sync_service.debezium.positions import LogPosition
from sync_service.kafka.admin import OffsetRange, committed_offsets, offset_ranges
from sync_service.kafka.clients import StandaloneClients, read_until
from sync_service.sinks.rows import CannotCompare

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_ANSWER_MS = 10_000
# The numbers of last offsets of a partition that are searched for an event, one after the other: transaction markers,
# aborted records and tombstones of log compaction are none.
_LAST_OFFSETS = (20, 400, 8000)

Ends = Mapping[TopicPartition, int]


class TopicProgress:
    """Connects to the broker on first use: without differences it is not needed.

    `patience` is the time in seconds that the sync may make no progress. All methods raise `CannotCompare`.
    """

    def __init__(self, kafka: KafkaClients, topic: str, group_id: str, *, patience: float) -> None:
        self._kafka = kafka
        self._topic = topic
        self._group_id = group_id
        self._patience = patience
        self._clients = StandaloneClients(kafka, client_id="sync-service reconcile", request_timeout_ms=_ANSWER_MS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._clients.close()

    async def caught_up(self) -> Ends | None:
        """Wait until the sync has applied all events that the topic has now. Returns their ends.

        None if the sync makes no progress for the time of the patience.
        """
        try:
            with stray_cancellations(KafkaError):
                return await self._wait_until_caught_up()
        except (KafkaError, TimeoutError, OSError) as error:
            raise await self._unanswered(error) from error

    async def waiting(self) -> int:
        """The number of events that the sync has not applied yet."""
        try:
            with stray_cancellations(KafkaError):
                consumer, admin = await self._clients.connected()
                return await self._waiting(admin, await offset_ranges(consumer, await self._partitions(admin)))
        except (KafkaError, TimeoutError, OSError) as error:
            raise await self._unanswered(error) from error

    async def newest(self, ends: Ends) -> LogPosition | None:
        """The position of the newest event before these ends; None if unknown.

        Every event before the ends was in the source before the ends were requested, so rows that are read from the
        source afterwards include all of them.
        """
        try:
            with stray_cancellations(KafkaError):
                return await self._newest(ends)
        except (KafkaError, TimeoutError, OSError) as error:
            raise await self._unanswered(error) from error

    async def _wait_until_caught_up(self) -> Ends | None:
        consumer, admin = await self._clients.connected()
        kept = await offset_ranges(consumer, await self._partitions(admin))
        # Polling for progress, and no retry of a failure.
        waiting, pause, progressed = None, _FIRST_PAUSE_SECONDS, time.monotonic()
        while True:
            left = await self._waiting(admin, kept)
            if not left:
                return {each: offset_range.end for each, offset_range in kept.items()}
            if left != waiting:
                waiting, progressed = left, time.monotonic()
            elif time.monotonic() - progressed > self._patience:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _waiting(self, admin: AIOKafkaAdminClient, kept: Mapping[TopicPartition, OffsetRange]) -> int:
        """How many of the events in these ranges the sync has not applied yet."""
        committed = await committed_offsets(admin, self._group_id, list(kept))
        done = {each: max(kept[each].begin, committed[each].offset) for each in kept if each in committed}
        return sum(max(0, kept[each].end - done.get(each, kept[each].begin)) for each in kept)

    async def _newest(self, ends: Ends) -> LogPosition | None:
        consumer, _ = await self._clients.connected()
        begins = await consumer.beginning_offsets(list(ends))
        places = [place for each, end in ends.items() if (place := await self._last(consumer, each, begins[each], end))]
        if len({place.generation for place in places}) != 1:
            return None
        return max(places, key=_transaction)

    async def _last(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int
    ) -> LogPosition | None:
        """The newest position among the last events before `end`."""
        consumer.assign([partition])
        for offsets in _LAST_OFFSETS:
            start = max(begin, end - offsets)
            records = read_until(consumer, {partition: (start, end)})
            found = [place async for each in records if (place := _log_position(each.key, each.value)) is not None]
            if found:
                return max((each for each in found if each.generation == found[-1].generation), key=_transaction)
            if start == begin:
                return None
        return None

    async def _partitions(self, admin: AIOKafkaAdminClient) -> list[TopicPartition]:
        topic = (await describe_topics_by(admin, [self._topic]))[self._topic]
        if isinstance(topic, UnknownTopicOrPartitionError):
            raise CannotCompare(
                f"the broker has no topic {self._topic}, so it is not known which events are on their way"
            )
        if isinstance(topic, KafkaError):
            raise topic
        return topic.topic_partitions

    async def _unanswered(self, error: Exception) -> CannotCompare:
        return CannotCompare(f"{await self._kafka.explain(error)}; so it is not known which events are on their way")


def _log_position(key: bytes | None, value: bytes | None) -> LogPosition | None:
    try:
        event = decode(key, value)
        position = None if event is None else event.position
    except InvalidEvent:
        return None
    return position


def _transaction(position: LogPosition) -> str:
    return position.transaction
