"""Consumers beside the group: nobody's offsets are touched."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service_kit.kafka import KafkaClients
from sync_service.consumer.topic_ids import topic_ids

POLL_MS = 500
REQUEST_TIMEOUT_MS = 5000
FETCH_WAIT_MS = 100
# What is fetched ahead of being looked at, of all partitions together. One record may be larger.
FETCH_BYTES = 4 * 1024 * 1024


@asynccontextmanager
async def standalone_consumer(
    kafka: KafkaClients, topics: Iterable[str], *, client_id: str
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with all partitions of the topics; where it begins is for its user to say (`seek`).

    Raises `KafkaError`: the broker does not answer, or lacks a topic.
    """
    wanted = list(topics)
    await topic_ids(kafka, wanted)  # the consumer would wait for a topic that is missing
    unstarted = kafka.consumer(
        client_id=client_id,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_BYTES,
    )
    async with kafka.started(unstarted) as consumer:
        await consumer.topics()
        numbers = {topic: sorted(consumer.partitions_for_topic(topic) or ()) for topic in wanted}
        consumer.assign([TopicPartition(topic, number) for topic in wanted for number in numbers[topic]])
        yield consumer


async def read_until(
    consumer: AIOKafkaConsumer, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncGenerator["ConsumerRecord[bytes, bytes]", None]:
    """What a consumer's partitions have from one offset on until another is reached. One partition after another.

    What the broker sends along with it comes, too: of a batch of several records the embedded broker tells the first
    one's offset as the last of the log. Raises `KafkaError`.
    """
    consumer.pause(*consumer.assignment())
    for partition, (start, end) in ranges.items():
        consumer.seek(partition, start)
        consumer.resume(partition)
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(partition, timeout_ms=POLL_MS)).get(partition, ()):
                yield record
        consumer.pause(partition)
