"""Topics that are missing, recreated, or get partitions: each affects only its own route."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from support.change_events import user_event
from support.polling import eventually
from support.sync_harness import PARTITIONS, SyncHarness, becomes, tweet_event, tweet_id
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC
from sync_service.kafka import placer, route_topics
from sync_service.kafka.admin import OffsetRange, existing_topics, offset_ranges_or_errors
from sync_service.kafka.clients import standalone_consumer
from sync_service.runner import SyncRunner


async def reason(runner: SyncRunner) -> str:
    return runner.problem or ""


def blocked(runner: SyncRunner) -> dict[str, float | None]:
    registry = runner.metrics.registry
    return {route: registry.get_sample_value("sync_blocked", {"route": route}) for route in ("tweets", "users")}


async def test_topics_are_described_and_none_is_created(harness: SyncHarness) -> None:
    for _ in range(2):
        described = await describe_topics(harness.kafka, [harness.tweets_topic, "test.missing"])
        assert isinstance(described["test.missing"], UnknownTopicOrPartitionError)
        topic = (await existing_topics(harness.kafka, [harness.tweets_topic]))[harness.tweets_topic]
        assert described[harness.tweets_topic] == topic
        assert (len(topic.id), topic.partitions) == (32, list(range(PARTITIONS)))
    with pytest.raises(UnknownTopicOrPartitionError, match=r"topic test\.missing does not exist"):
        await existing_topics(harness.kafka, [harness.tweets_topic, "test.missing"])


@pytest.mark.parametrize("is_running", [True, False], ids=["while running", "at the start"])
async def test_route_without_its_topic_waits_alone_until_it_exists(harness: SyncHarness, is_running: bool) -> None:
    if is_running:
        runner = harness.start_sync()
        await harness.send(harness.tweets_topic, tweet_event(1, "before"))
        await becomes(harness.tweets, {tweet_id(1): "before"})
        await harness.delete_topic(harness.tweets_topic)
    else:
        await harness.delete_topic(harness.tweets_topic)
        runner = harness.start_sync()
    named = f"tweets: Kafka: topic {harness.tweets_topic} does not exist"
    await becomes(lambda: reason(runner), named)
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))
    assert await reason(runner) == named
    assert blocked(runner) == {"tweets": 1, "users": 0}

    # Of another number of partitions.
    await harness.create_topic(harness.tweets_topic, PARTITIONS + 2)
    for partition in range(PARTITIONS + 2):
        await harness.send(harness.tweets_topic, tweet_event(10 + partition, "after"), partition=partition)
    wanted = {tweet_id(10 + partition): "after" for partition in range(PARTITIONS + 2)}
    await becomes(harness.tweets, {tweet_id(1): "before", **wanted} if is_running else wanted)
    await becomes(lambda: reason(runner), "")
    assert blocked(runner) == {"tweets": 0, "users": 0}


async def test_route_without_access_to_its_topic_waits_alone_and_is_retried(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeing a topic (Describe) is another right than reading it."""
    monkeypatch.setattr(route_topics, "DENIED_SECONDS", 2.0)
    getmany, is_denied = AIOKafkaConsumer.getmany, True

    async def as_denied(consumer: AIOKafkaConsumer, *partitions: TopicPartition, **options: Any) -> Any:
        """What aiokafka raises, as long as the topic is fetched, when the broker answers so."""
        if is_denied and harness.tweets_topic in consumer.subscription():
            raise TopicAuthorizationFailedError(harness.tweets_topic)
        return await getmany(consumer, *partitions, **options)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", as_denied)
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))
    await becomes(
        lambda: reason(runner),
        f"tweets: Kafka: Kafka denies this user access to the topic {harness.tweets_topic}: rights (ACLs) are missing",
    )
    assert await harness.tweets() == {}
    is_denied = False
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await becomes(lambda: reason(runner), "")


async def test_route_whose_topic_the_broker_refuses_waits_alone(harness: SyncHarness) -> None:
    """`load_routes` refuses this name; a broker may refuse others."""
    refused = f"{harness.tweets_topic} items"
    harness.routes[1] = harness.routes[1].model_copy(update={"topic": refused})
    runner = harness.start_sync()
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))
    assert await reason(runner) == (
        f"tweets: Kafka: the broker answers with an error: [Error 17] InvalidTopicError: {refused}"
    )
    assert blocked(runner) == {"tweets": 1, "users": 0}


async def test_partition_without_a_leader_waits_alone(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is alone leads all partitions. So the test changes what it says, as aiokafka would report it."""
    monkeypatch.setattr(placer, "UNANSWERED_SECONDS", 0.5)
    led, leaderless = TopicPartition(harness.tweets_topic, 0), TopicPartition(harness.tweets_topic, 1)
    has_leader, is_known = asyncio.Event(), False

    async def described(kafka: KafkaClients, names: Sequence[str]) -> Mapping[str, Topic | KafkaError]:
        topics = dict(await describe_topics(kafka, names))
        topic = topics[leaderless.topic]
        if is_known and not has_leader.is_set() and isinstance(topic, Topic):
            topics[leaderless.topic] = replace(topic, leaderless=[leaderless.partition])
        return topics

    beginning_offsets = AIOKafkaConsumer.beginning_offsets

    async def once_led(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Any:
        if leaderless in partitions:
            await has_leader.wait()
        return await beginning_offsets(consumer, partitions)

    monkeypatch.setattr(route_topics, "describe_topics", described)
    monkeypatch.setattr(AIOKafkaConsumer, "beginning_offsets", once_led)
    runner = harness.start_sync()
    for partition in (led, leaderless):
        event = tweet_event(partition.partition, "x")
        await harness.send(partition.topic, event, partition=partition.partition)
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))
    await becomes(harness.tweets, {tweet_id(0): "x"})
    # First by a request without an answer, and then by the description of the topic.
    named = f"partition 1 of topic {leaderless.topic}"
    assert (await reason(runner)).startswith(f"tweets: Kafka: the offsets of {named} can't be read: ")
    is_known = True
    await becomes(lambda: reason(runner), f"tweets: Kafka: {named} has no leader")
    assert blocked(runner) == {"tweets": 1, "users": 0}
    has_leader.set()
    await becomes(harness.tweets, {tweet_id(0): "x", tweet_id(1): "x"})
    await becomes(lambda: reason(runner), "")
    # The consumer was never replaced.
    assert runner.metrics.registry.get_sample_value("sync_rebalances_total") == 1


async def test_partition_without_an_answer_does_not_hide_the_offsets_of_others(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka takes a partition that does not exist for one without a leader."""
    monkeypatch.setattr("sync_service.kafka.admin.OFFSETS_SECONDS", 1.0)
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    async with standalone_consumer(harness.kafka, [harness.tweets_topic], client_id="test") as consumer:
        found, missing = (TopicPartition(harness.tweets_topic, number) for number in (0, 99))
        answers = await offset_ranges_or_errors(consumer, [found, missing])
    assert answers[found] == OffsetRange(0, 1)
    assert isinstance(answers[missing], KafkaError)


async def test_all_topics_may_be_missing(harness: SyncHarness) -> None:
    await harness.delete_topic(harness.tweets_topic)
    await harness.delete_topic(harness.users_topic)
    runner = harness.start_sync()
    await becomes(
        lambda: reason(runner),
        "; ".join(f"{route.name}: Kafka: topic {route.topic} does not exist" for route in harness.routes),
    )
    await harness.create_topic(harness.tweets_topic)
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})


@pytest.mark.parametrize("is_running", [True, False], ids=["while running", "while stopped"])
@pytest.mark.parametrize("partitions", [1, PARTITIONS, PARTITIONS + 1])
async def test_recreated_topic_is_read_from_its_beginning(
    harness: SyncHarness, is_running: bool, partitions: int
) -> None:
    """Its offsets begin at 0 again, below those that the rows have: they are no redeliveries."""
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, *(tweet_event(1, f"text {n}", op="u", ordinal=n) for n in range(20)))
    await becomes(harness.tweets, {tweet_id(1): "text 19"})
    if not is_running:
        await harness.stop_sync(runner)

    await harness.delete_topic(harness.tweets_topic)
    await harness.create_topic(harness.tweets_topic, partitions)
    await harness.send(harness.tweets_topic, tweet_event(1, "text 20", op="u", ordinal=20))
    last = partitions - 1
    await harness.send(harness.tweets_topic, tweet_event(2, "last partition", ordinal=21), partition=last)
    if not is_running:
        runner = harness.start_sync()

    await becomes(harness.tweets, {tweet_id(1): "text 20", tweet_id(2): "last partition"})
    await becomes(runner.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})


async def test_added_partitions_are_read(harness: SyncHarness) -> None:
    harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await harness.add_partitions(harness.tweets_topic, PARTITIONS + 1)
    await harness.send(harness.tweets_topic, tweet_event(2, "two"), partition=PARTITIONS)
    await eventually(harness.tweets, lambda rows: rows == {tweet_id(1): "one", tweet_id(2): "two"})


@pytest.fixture
async def no_dead_letters_topic(harness: SyncHarness, stack: Stack) -> AsyncIterator[None]:
    # Where other tests have started the whole stack its registrar would create the topic again.
    has_registrar = stack.is_running("registrar")
    await asyncio.to_thread(stack.stop_one, "registrar")
    await harness.delete_topic(DEAD_LETTERS_TOPIC)
    yield
    if has_registrar:
        await asyncio.to_thread(stack.start, "registrar")
    if isinstance((await describe_topics(harness.kafka, [DEAD_LETTERS_TOPIC]))[DEAD_LETTERS_TOPIC], Exception):
        await create_dead_letters_topic(harness)


async def create_dead_letters_topic(harness: SyncHarness) -> None:
    async with harness.kafka.started(harness.kafka.admin()) as admin:
        await admin.create_topics(
            [
                NewTopic(
                    DEAD_LETTERS_TOPIC,
                    1,
                    1,
                    topic_configs={"max.message.bytes": str(harness.kafka.max_message_bytes)},
                )
            ]
        )


@pytest.mark.usefixtures("no_dead_letters_topic")
async def test_only_partitions_with_failures_wait_for_the_dead_letters_topic(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, (b"k", b"broken"), tweet_event(1, "after the poison"))
    await harness.send(harness.tweets_topic, tweet_event(2, "other partition"), partition=1)
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))
    await becomes(harness.tweets, {tweet_id(2): "other partition"})
    await eventually(lambda: reason(runner), lambda told: f"topic {DEAD_LETTERS_TOPIC} does not exist" in told)

    await create_dead_letters_topic(harness)
    await becomes(harness.tweets, {tweet_id(1): "after the poison", tweet_id(2): "other partition"})
    assert [letter.value for letter in await harness.dead_letters()] == [b"broken"]
    await becomes(lambda: reason(runner), "")
