"""Reads topics beside the consumer group: nobody's offsets are touched."""

from collections.abc import AsyncGenerator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from sync_service.consumer.topic_ids import topic_ids

POLL_MS = 500


async def follow(
    bootstrap_servers: str, topics: Sequence[str], *, from_beginning: bool
) -> AsyncGenerator["ConsumerRecord[bytes, bytes]", None]:
    """Every record of the topics, from now or from the beginning on, without end.

    Raises `KafkaError`: the broker does not answer, or lacks a topic.
    """
    await topic_ids(bootstrap_servers, topics)  # the consumer would wait for a topic that is missing
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, client_id="sync-service-inspect")
    try:
        await consumer.start()
        partitions = [TopicPartition(topic, number) for topic in topics for number in await _numbers(consumer, topic)]
        consumer.assign(partitions)
        if from_beginning:
            await consumer.seek_to_beginning(*partitions)
        else:
            await consumer.seek_to_end(*partitions)
        while True:
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


async def _numbers(consumer: AIOKafkaConsumer, topic: str) -> Sequence[int]:
    await consumer.topics()
    return sorted(consumer.partitions_for_topic(topic) or ())
