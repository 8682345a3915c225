"""Events that can't be applied, kept with the reason."""

import asyncio
from typing import Literal

from aiokafka import AIOKafkaProducer, ConsumerRecord

DEAD_LETTERS_TOPIC = "sync.dead-letters"
SINK_NAME = "sync-service"

# A record may be as large as the broker takes (1 MiB by default), and gets headers on top; see topics.yaml.
MAX_REQUEST_BYTES = 2 * 1024 * 1024

# Kafka Connect's names: the value could not be read, or the store did not take it.
Stage = Literal["VALUE_CONVERTER", "TASK_PUT"]


class TooManyDeadLetters(Exception):  # noqa: N818 - a state of the route
    """So many in a row are no poison in the data but something that is wrong for all of them."""


class DeadLetters:
    """Writes to the topic of the dead letters, with headers as Kafka Connect has them (KIP-298)."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, record: "ConsumerRecord[bytes, bytes]", stage: Stage, error: Exception) -> None:
        """The record as it came, after the broker has it for sure. Raises `KafkaError`."""
        reason = {
            "__connect.errors.topic": record.topic,
            "__connect.errors.partition": str(record.partition),
            "__connect.errors.offset": str(record.offset),
            "__connect.errors.connector.name": SINK_NAME,
            "__connect.errors.task.id": "0",
            "__connect.errors.stage": stage,
            "__connect.errors.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
            "__connect.errors.exception.class.name": type(error).__qualname__,
            "__connect.errors.exception.message": str(error)[:2000],
        }
        producer = await self._started_producer()
        await producer.send_and_wait(
            DEAD_LETTERS_TOPIC,
            key=record.key,
            value=record.value,
            headers=[*record.headers, *((name, text.encode()) for name, text in reason.items())],
        )

    async def _started_producer(self) -> AIOKafkaProducer:
        """Most processes never need one."""
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap_servers,
                    client_id=SINK_NAME,
                    acks="all",
                    max_request_size=MAX_REQUEST_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer
