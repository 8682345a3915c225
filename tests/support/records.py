"""Records of a topic."""

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service_kit.kafka import fetch_metadata


async def read_records(
    bootstrap_servers: str, topic: str, partition: int = 0, *, isolation_level: str = "read_uncommitted"
) -> "list[ConsumerRecord[bytes, bytes]]":
    """All current records of a partition."""
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, isolation_level=isolation_level)
    await consumer.start()
    try:
        # Before the assignment: a broker answers this request only after a fetch that waits for records.
        await fetch_metadata(consumer, [topic])
        end = (await consumer.end_offsets([where]))[where]
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        found: list[ConsumerRecord[bytes, bytes]] = []
        while await consumer.position(where) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    finally:
        await consumer.stop()
    return found
