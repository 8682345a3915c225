"""Tails topics from a given start."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from datetime import datetime
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from service_kit.kafka import KafkaClients
from sync_service.kafka.clients import POLL_MS
from sync_service.kafka.discovery import discovering_consumer

Begin = Literal["beginning", "now"] | datetime


async def tail(
    kafka: KafkaClients,
    topics: Sequence[str],
    *,
    begin: Begin,
    stop: asyncio.Event,
    note_missing: Callable[[Collection[str]], None],
) -> AsyncGenerator["ConsumerRecord[bytes, bytes]", None]:
    """Every record of the topics from the start on, until `stop`. A datetime starts with the records since then.

    `note_missing` gets the topics that do not exist, if any. They are read as soon as they exist.
    It ends by `stop`, because aiokafka may swallow a cancellation during a fetch.
    Raises `KafkaError` if the broker does not answer, or lacks all topics.
    """
    async with discovering_consumer(kafka, topics, client_id="sync-service-inspect") as discovering:
        consumer = discovering.consumer
        if discovering.missing:
            note_missing(discovering.missing)
        await _seek(consumer, begin)
        earliest_ms = begin.timestamp() * 1000 if isinstance(begin, datetime) else None
        while not stop.is_set():
            await discovering.discover()
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    # Timestamps are not in order: a record after one from the future may be older. Some records have
                    # none.
                    if earliest_ms is None or record.timestamp < 0 or record.timestamp >= int(earliest_ms):
                        yield record


async def _seek(consumer: AIOKafkaConsumer, begin: Begin) -> None:
    partitions = list(consumer.assignment())
    if begin == "beginning":
        await consumer.seek_to_beginning(*partitions)
        return
    await consumer.seek_to_end(*partitions)
    if isinstance(begin, datetime):
        moment_ms = max(0, int(begin.timestamp() * 1000))
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, moment_ms))
        for partition, place in found.items():
            # None: there are no records since then, so it starts at the end.
            if place is not None and place.timestamp >= 0:
                consumer.seek(partition, place.offset)
