"""How far the sync is with a route's topic, and what is the newest event in it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients, stop
from sync_service.events.envelope import decode
from sync_service.events.positions import epoch, position
from sync_service.events.problems import InvalidEvent
from sync_service.reconciliation.rows import CannotCompare

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_ANSWER_MS = 10_000
# There may be none to be read: log compaction, and the marks of transactions, leave gaps.
_LAST_BATCH_SECONDS = 1.0
# The last records of a partition may be tombstones of log compaction, or not to be read.
_RECORDS_READ = 20

Ends = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event is in its source's log."""

    epoch: str
    position: str


class Topic:
    """Asks the broker when it is needed for the first time: where nothing differs, it never is.

    `patience` is how many seconds the sync may make no progress. All of it raises `CannotCompare`.
    """

    def __init__(self, kafka: KafkaClients, topic: str, group_id: str, *, patience: float) -> None:
        self._kafka = kafka
        self._topic = topic
        self._group_id = group_id
        self._patience = patience
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._admin is not None:
            await stop(self._admin)
        if self._consumer is not None:
            await stop(self._consumer)

    async def drained(self) -> Ends | None:
        """Wait until the sync is done with all events that are there now; where these end.

        None if the sync made no progress with them for the time of its patience.
        """
        try:
            return await self._drained()
        except (KafkaError, TimeoutError, OSError) as error:
            raise await self._unanswered(error) from error

    async def newest(self, ends: Ends) -> Place | None:
        """The place of the last event before these ends; None if it is not to be told.

        Every event before the ends was in the source before the ends were asked for: what is read from the source
        afterwards has all of them in it.
        """
        try:
            return await self._newest(ends)
        except (KafkaError, TimeoutError, OSError) as error:
            raise await self._unanswered(error) from error

    async def _drained(self) -> Ends | None:
        consumer, admin = await self._connected()
        partitions = [TopicPartition(self._topic, each) for each in await self._partitions(consumer)]
        ends = await self._ends(consumer, partitions)
        begins = await consumer.beginning_offsets(partitions)
        waiting, pause, progressed = None, _FIRST_PAUSE_SECONDS, time.monotonic()
        while True:
            committed = await admin.list_consumer_group_offsets(self._group_id, partitions=partitions)
            done = {each: max(begins[each], committed[each].offset) for each in partitions if each in committed}
            left = sum(max(0, ends[each] - done.get(each, begins[each])) for each in partitions)
            if not left:
                return ends
            if left != waiting:
                waiting, progressed = left, time.monotonic()
            elif time.monotonic() - progressed > self._patience:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _ends(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Ends:
        """Behind the last record of each.

        A broker was seen to answer the question for it with the place behind the *first* record of the last batch, so
        the rest of that batch is read.
        """
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        unread = {each for each in partitions if ends[each]}
        consumer.assign(list(unread))
        for each in unread:
            consumer.seek(each, ends[each] - 1)
        deadline = time.monotonic() + _LAST_BATCH_SECONDS
        while unread and time.monotonic() < deadline:
            for each, records in (await consumer.getmany(*unread, timeout_ms=200)).items():
                ends[each] = max(ends[each], records[-1].offset + 1)
                unread.discard(each)
        return ends

    async def _newest(self, ends: Ends) -> Place | None:
        consumer, _ = await self._connected()
        begins = await consumer.beginning_offsets(list(ends))
        places = [place for each, end in ends.items() if (place := await self._last(consumer, each, begins[each], end))]
        if len({place.epoch for place in places}) != 1:
            return None
        return max(places, key=lambda place: place.position)

    async def _last(self, consumer: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int) -> Place | None:
        """The newest place that one of the last records before `end` tells."""
        offset = max(begin, end - _RECORDS_READ)
        if offset >= end:
            return None
        consumer.assign([partition])
        consumer.seek(partition, offset)
        found: list[Place] = []
        deadline = time.monotonic() + _ANSWER_MS / 1000
        while offset < end and time.monotonic() < deadline:
            batches = await consumer.getmany(partition, timeout_ms=500, max_records=end - offset)
            for record in batches.get(partition, ()):
                offset = record.offset + 1
                if record.offset < end and (place := _place(record.key, record.value)) is not None:
                    found.append(place)
        return max(
            (place for place in found if place.epoch == found[-1].epoch), key=lambda place: place.position, default=None
        )

    async def _connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        if self._consumer is None or self._admin is None:
            self._consumer = self._kafka.consumer(
                client_id="sync-service reconcile",
                request_timeout_ms=_ANSWER_MS,
                enable_auto_commit=False,
                fetch_max_wait_ms=100,
            )
            self._admin = self._kafka.admin(request_timeout_ms=_ANSWER_MS)
            await self._kafka.start(self._consumer)
            await self._kafka.start(self._admin)
        return self._consumer, self._admin

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[int]:
        if self._topic not in await consumer.topics():
            raise CannotCompare(f"the broker has no topic {self._topic}, so what is on its way can't be told")
        return sorted(consumer.partitions_for_topic(self._topic) or ())

    async def _unanswered(self, error: Exception) -> CannotCompare:
        return CannotCompare(f"{await self._kafka.explain(error)}; so it is not known which events are on their way")


def _place(key: bytes | None, value: bytes | None) -> Place | None:
    try:
        event = decode(key, value)
        if event is None:
            return None
        where = position(event.source)
        return None if where is None else Place(epoch(event.source), where)
    except InvalidEvent:
        return None
