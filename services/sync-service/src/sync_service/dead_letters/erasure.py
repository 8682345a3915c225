"""Erases excluded fields from the dead letters that earlier releases have written.

A record of a topic can't be changed. So the open dead letters are written again, without the excluded fields, and then
all records up to the last one with such a field are deleted, with the history of resolved dead letters there. Each copy
names the dead letter that it replaces; a process that dies in between leaves both, of which only one counts
(`index.py`), and the next one continues. Open dead letters get new ids once.
"""

import hashlib
from collections.abc import Collection, Mapping
from contextlib import aclosing

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from service_kit.kafka import KafkaClients
from sync_service.dead_letters.index import DeadLetterIndex
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC, DeadLetter, Record, read
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.kafka.erasure import CLIENT, REQUEST_TIMEOUT_MS, ErasedOffsets
from sync_service.routes.exclusion import NO_FIELDS, ExcludedFields

log = structlog.get_logger(__name__)


class DeadLetterErasure:
    """`excluded` by the topic of the events. Only one process of the system may run it at a time."""

    def __init__(
        self,
        kafka: KafkaClients,
        reader: DeadLetterReader,
        writer: DeadLetterWriter,
        erased: ErasedOffsets,
        excluded: Mapping[str, ExcludedFields],
    ) -> None:
        self._kafka = kafka
        self._reader = reader
        self._writer = writer
        self._erased = erased
        self._excluded = {topic: fields for topic, fields in excluded.items() if fields}

    async def erase(self) -> None:
        """Raises `KafkaError`, `Unavailable`."""
        if not self._excluded:
            return
        topic_id = await self._reader.topic_id()
        erased = await self._erased.of(DEAD_LETTERS_TOPIC, topic_id, self._digest)
        ends: dict[int, int] = {}
        last: dict[int, int] = {}
        async with aclosing(self._reader.since(erased)) as records:
            async for record in records:
                ends[record.partition] = record.offset + 1
                if self._fields_of(record).are_in(record.value):
                    last[record.partition] = record.offset
        if last:
            await self._replace(last, topic_id)
            await self._delete({partition: offset + 1 for partition, offset in last.items()})
        for partition, end in ends.items():
            await self._erased.store(DEAD_LETTERS_TOPIC, topic_id, partition, self._digest, end)

    async def _replace(self, last: Mapping[int, int], topic_id: str) -> None:
        """Write the open dead letters again that are in the topic up to these offsets."""
        index = DeadLetterIndex(topic_id)
        await self._reader.catch_up(index)
        opened = [each for each in index.open_after(None, None) if each.offset <= last.get(each.partition, -1)]
        async with aclosing(self._reader.at(opened)) as records:
            async for record in records:
                await self._writer.replace(record, self._fields_of(record))
        log.info("dead letters are written again without excluded fields", count=len(opened), notable=True)

    async def _delete(self, before: Mapping[int, int]) -> None:
        ends = {
            TopicPartition(DEAD_LETTERS_TOPIC, partition): RecordsToDelete(before_offset=offset)
            for partition, offset in before.items()
        }
        admin = self._kafka.admin(client_id=CLIENT, request_timeout_ms=REQUEST_TIMEOUT_MS)
        async with self._kafka.started(admin):
            await admin.delete_records(ends)

    async def unsaved(self, partition: TopicPartition, topic_id: str) -> Collection[int]:
        """The offsets of the events that only their topic has: their open dead letters were too large to keep them."""
        index = DeadLetterIndex(await self._reader.topic_id())
        await self._reader.catch_up(index)
        offsets = []
        async with aclosing(self._reader.at(list(index.open_after(None, {partition.topic})))) as records:
            async for record in records:
                letter = read(record)
                if isinstance(letter, DeadLetter) and letter.omitted_bytes is not None:
                    origin = letter.origin
                    if (origin.topic_id, origin.partition) == (topic_id, partition.partition):
                        offsets.append(origin.offset)
        return offsets

    def _fields_of(self, record: Record) -> ExcludedFields:
        letter = read(record)
        topic = letter.origin.topic if isinstance(letter, DeadLetter) else ""
        return self._excluded.get(topic, NO_FIELDS)

    @property
    def _digest(self) -> str:
        known = sorted((topic, fields.digest) for topic, fields in self._excluded.items())
        return hashlib.sha256(repr(known).encode()).hexdigest()[:32]
