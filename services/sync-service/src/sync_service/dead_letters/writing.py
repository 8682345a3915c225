"""Writes letters and resolutions to their topic."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError

from service_kit.kafka import KafkaClients, stop
from sync_service.dead_letters.letters import (
    DEAD_LETTERS_TOPIC,
    SINK_NAME,
    LetterId,
    Record,
    Result,
    Stage,
    letter_headers,
    omission_header,
    resolution_headers,
)

# A record may be as large as the broker takes (1 MiB by default), and gets headers on top; see topics.yaml.
MAX_REQUEST_BYTES = 2 * 1024 * 1024
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)


class DeadLetters:
    def __init__(self, kafka: KafkaClients) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def close(self) -> None:
        if self._producer is not None:
            await stop(self._producer)

    async def send(self, record: Record, stage: Stage, error: Exception, *, topic_id: str) -> None:
        """The record as it came; returns when the broker has it for sure. Raises `KafkaError`.

        `topic_id` is of the record's topic. Of a record that is too large even for this topic only the place is kept.
        """
        told = letter_headers(record, stage, error, topic_id)
        producer = await self._started_producer()
        try:
            await producer.send_and_wait(
                DEAD_LETTERS_TOPIC, key=record.key, value=record.value, headers=[*record.headers, *told]
            )
        except _TOO_LARGE:
            await producer.send_and_wait(DEAD_LETTERS_TOPIC, headers=[*told, omission_header(record)], value=b"")

    async def resolve(self, letter: LetterId, result: Result, *, by: str) -> None:
        """Say that a letter is done with; returns when the broker has it for sure. Raises `KafkaError`."""
        producer = await self._started_producer()
        await producer.send_and_wait(
            DEAD_LETTERS_TOPIC,
            key=str(letter).encode(),
            # Behind the letter.
            partition=letter.partition,
            headers=resolution_headers(letter, result, by),
        )

    async def _started_producer(self) -> AIOKafkaProducer:
        """Most processes never need one."""
        async with self._starting:
            if self._producer is None:
                producer = self._kafka.producer(client_id=SINK_NAME, acks="all", max_request_size=MAX_REQUEST_BYTES)
                await self._kafka.start(producer)
                self._producer = producer
            return self._producer
