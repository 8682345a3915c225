"""Ages of heartbeats in topics of a real broker."""

import secrets
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from registrar.growth import GrowthReader
from registrar.heartbeats import HeartbeatReader
from registrar.topics import TopicDeclaration, ensure_topics
from service_kit.kafka import KafkaClients
from support.polling import eventually


@pytest.fixture
def kafka(kafka_bootstrap_servers: str) -> KafkaClients:
    return KafkaClients(kafka_bootstrap_servers)


@pytest.fixture
async def topic(kafka: KafkaClients) -> str:
    name = f"test.{secrets.token_hex(4)}"
    await ensure_topics(kafka, {name: TopicDeclaration(partitions=2)}, deadline_seconds=120)
    return name


@pytest.fixture
async def reader(kafka: KafkaClients, topic: str) -> AsyncIterator[HeartbeatReader]:
    """Does not follow a topic yet: heartbeats written before `follow` are old."""
    consumer = kafka.consumer(enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed")
    async with kafka.started(consumer):
        yield HeartbeatReader(consumer)


def seconds_ago(seconds: float) -> int:
    return int((time.time() - seconds) * 1000)


async def send_in_transactions(kafka: KafkaClients, topic: str, *ages: float, aborted: int = 0) -> None:
    producer: AIOKafkaProducer = kafka.producer(transactional_id=f"test-{secrets.token_hex(4)}")
    async with kafka.started(producer):
        for age in ages:
            async with producer.transaction():
                await producer.send_and_wait(topic, b"{}", partition=0, timestamp_ms=seconds_ago(age))
        for _ in range(aborted):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"{}", partition=0)
            await producer.abort_transaction()


async def test_heartbeat_is_found_before_markers_and_aborted_records(
    kafka: KafkaClients, topic: str, reader: HeartbeatReader
) -> None:
    await send_in_transactions(kafka, topic, 500, 100, aborted=3)
    await reader.follow({topic: 2})
    age = (await eventually(reader.ages))[topic]
    assert 100 <= age < 160


async def test_age_of_an_old_heartbeat_is_by_its_timestamp_and_of_a_new_one_by_its_arrival(
    kafka: KafkaClients, topic: str, reader: HeartbeatReader
) -> None:
    async with kafka.started(kafka.producer()) as producer:
        await producer.send_and_wait(topic, b"{}", partition=1, timestamp_ms=seconds_ago(3000))
        await reader.follow({topic: 2})
        age = (await eventually(reader.ages))[topic]
        assert 3000 <= age < 3060
        # From a machine whose clock is an hour behind.
        await producer.send_and_wait(topic, b"{}", partition=1, timestamp_ms=seconds_ago(3600))
        await eventually(reader.ages, lambda ages: ages[topic] < 60)


async def test_age_of_a_heartbeat_from_the_future_grows(
    kafka: KafkaClients, topic: str, reader: HeartbeatReader
) -> None:
    async with kafka.started(kafka.producer()) as producer:
        await producer.send_and_wait(topic, b"{}", partition=0, timestamp_ms=seconds_ago(-3600))
    await reader.follow({topic: 2})
    first = (await eventually(reader.ages))[topic]
    await eventually(reader.ages, lambda ages: ages[topic] > first)


async def test_topic_without_heartbeats_has_no_age(kafka: KafkaClients, topic: str, reader: HeartbeatReader) -> None:
    await reader.follow({topic: 2})
    assert await reader.ages() == {}
    await reader.follow({})
    assert await reader.ages() == {}


async def test_growth_of_many_topics_is_read(kafka: KafkaClients) -> None:
    topics = {f"test.{secrets.token_hex(4)}": 1 for _ in range(40)}
    declared = {topic: TopicDeclaration(partitions=1) for topic in topics}
    await ensure_topics(kafka, declared, deadline_seconds=60)
    consumer = kafka.consumer(enable_auto_commit=False, request_timeout_ms=3000)
    async with kafka.started(consumer):
        growth = GrowthReader(consumer)
        assert await growth.ages(topics) == {}
        async with kafka.started(kafka.producer()) as producer:
            grown = next(iter(topics))
            await producer.send_and_wait(grown, b"{}")
        assert list(await growth.ages(topics)) == [grown]
