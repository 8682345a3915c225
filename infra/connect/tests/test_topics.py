"""Topics on a real broker are created and kept as declared."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from registrar.broker import Broker
from registrar.topics import TopicDeclaration, TopicReconciler
from service_kit.kafka import KafkaClients, stop
from support.polling import eventually

WEEK, HOUR = "604800000", "3600000"
LARGEST = {"max.message.bytes": str(33 * 1024 * 1024)}


@pytest.fixture
async def admin(kafka_bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    kafka = KafkaClients(kafka_bootstrap_servers)
    async with kafka.started(kafka.admin()) as admin:
        yield admin


@pytest.fixture
def topic() -> str:
    return f"test.{secrets.token_hex(4)}"


async def own_settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """The settings of the topic itself, without those of its broker."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    ((_, _, _, _, entries),) = (await admin.describe_configs([resource]))[0].resources
    dynamic_topic_config = 1
    return {name: value for name, value, _, source, *_ in entries if source == dynamic_topic_config}


def reconciler(servers: str, declared: dict[str, TopicDeclaration], replication_factor: int = 1) -> TopicReconciler:
    return TopicReconciler(KafkaClients(servers), declared, replication_factor)


async def partitions_of(topics: TopicReconciler, admin: AIOKafkaAdminClient, topic: str) -> int | None:
    """The number of partitions after another poll. Brokers know a new topic a moment later."""
    await topics.reconcile(admin)
    return topics.partitions.get(topic)


async def test_topic_is_created_with_its_settings(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    topics = reconciler(kafka_bootstrap_servers, {topic: TopicDeclaration(partitions=2, config={"retention.ms": WEEK})})
    assert await topics.reconcile(admin) == [topic]
    assert topics.problems == {}
    await eventually(lambda: partitions_of(topics, admin, topic), lambda count: count == 2)
    assert await own_settings(admin, topic) == {"retention.ms": WEEK, **LARGEST}
    assert await topics.reconcile(admin) == []


async def test_failed_start_of_one_consumer_closes_the_other(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = reconciler(kafka_bootstrap_servers, {})
    broker = Broker(KafkaClients(kafka_bootstrap_servers), topics)
    start, started = KafkaClients.start, list[AIOKafkaConsumer]()

    async def fail_for_the_second(kafka: KafkaClients, client: Any) -> None:
        if started:
            await stop(client)
            raise ZeroDivisionError
        await start(kafka, client)
        if isinstance(client, AIOKafkaConsumer):
            started.append(client)

    monkeypatch.setattr(KafkaClients, "start", fail_for_the_second)
    try:
        with pytest.raises(ZeroDivisionError):
            await broker.poll()
        (consumer,) = started
        assert consumer._closed
    finally:
        await broker.close()


async def test_partitions_are_known_of_declared_and_other_topics_only(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    declared, other, missing, unknown = (f"{topic}.{name}" for name in ("declared", "other", "missing", "unknown"))
    await admin.create_topics([NewTopic(name, 2, 1) for name in (declared, other, unknown)])
    kafka = KafkaClients(kafka_bootstrap_servers)
    topics = TopicReconciler(kafka, {declared: TopicDeclaration(partitions=2)}, other=[other, missing])

    async def partitions() -> dict[str, int]:
        assert await topics.reconcile(admin) == []
        return topics.partitions

    await eventually(partitions, lambda known: known == {declared: 2, other: 2})
    assert topics.problems == {}
    assert missing not in await admin.list_topics()


async def test_declared_settings_are_set_and_others_kept(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    before = {"retention.ms": HOUR, "segment.ms": HOUR, "max.message.bytes": "2097152"}
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=before)])
    declared = TopicDeclaration(partitions=1, config={"retention.ms": WEEK, "max.message.bytes": "2097152"})
    topics = reconciler(kafka_bootstrap_servers, {topic: declared})
    assert await topics.reconcile(admin) == []
    assert topics.problems == {}
    assert await own_settings(admin, topic) == {**before, "retention.ms": WEEK}


@pytest.mark.parametrize(
    ("declared", "before", "after"),
    [
        ({}, {}, LARGEST),
        ({}, {"max.message.bytes": "2097152"}, LARGEST),
        # An operator has allowed more, or topics.yaml allows less.
        ({}, {"max.message.bytes": "67108864"}, {"max.message.bytes": "67108864"}),
        ({"max.message.bytes": "1000"}, {}, {"max.message.bytes": "1000"}),
    ],
)
async def test_topic_is_made_to_accept_the_largest_record(
    admin: AIOKafkaAdminClient,
    kafka_bootstrap_servers: str,
    declared: dict[str, str],
    before: dict[str, str],
    after: dict[str, str],
) -> None:
    name = f"test-{secrets.token_hex(4)}"
    await admin.create_topics([NewTopic(name, 1, 1, topic_configs=before)])
    topics = reconciler(kafka_bootstrap_servers, {name: TopicDeclaration(partitions=1, config=declared)})
    await topics.reconcile(admin)
    assert (topics.problems, await own_settings(admin, name)) == ({}, after)


async def test_setting_equal_to_the_default_of_the_broker_is_not_changed(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    await admin.create_topics([NewTopic(topic, 1, 1)])
    declared = TopicDeclaration(partitions=1, config={"retention.ms": WEEK, "cleanup.policy": "delete"})
    topics = reconciler(kafka_bootstrap_servers, {topic: declared})
    await topics.reconcile(admin)
    assert (topics.problems, (await own_settings(admin, topic)).keys()) == ({}, {"max.message.bytes"})


async def test_refused_setting_is_reported_with_both_values(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"retention.ms": HOUR, **LARGEST})])
    declared = TopicDeclaration(partitions=1, config={"retention.ms": "a week"})
    topics = reconciler(kafka_bootstrap_servers, {topic: declared})
    await topics.reconcile(admin)
    assert topics.problems[topic].startswith(
        f"has retention.ms={HOUR} instead of retention.ms=a week, and the change is refused: INVALID_CONFIG: "
    )
    assert (await own_settings(admin, topic))["retention.ms"] == HOUR


async def test_topic_with_other_partitions_is_reported_and_not_changed(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    await admin.create_topics([NewTopic(topic, 4, 1)])
    other = f"{topic}.other"
    topics = reconciler(
        kafka_bootstrap_servers, {topic: TopicDeclaration(partitions=6), other: TopicDeclaration(partitions=1)}
    )
    assert await topics.reconcile(admin) == [other]
    assert (topics.readiness_problem() or "").startswith(f"topic {topic} has 4 partitions instead of 6; ")
    assert topics.partitions[topic] == 4
    assert len((await admin.describe_topics([topic]))[0]["partitions"]) == 4


async def test_refused_topic_does_not_prevent_the_creation_of_others(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    other = f"{topic}.other"
    refused = TopicDeclaration(partitions=1, config={"no.such.setting": "1"})
    topics = reconciler(kafka_bootstrap_servers, {topic: refused, other: TopicDeclaration(partitions=1)})
    assert await topics.reconcile(admin) == [other]
    assert topics.readiness_problem() == (
        f"topic {topic} can't be created: INVALID_CONFIG: Unknown topic config name: no.such.setting"
    )


async def test_too_many_replicas_are_reported_once(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = {f"{topic}.{number}": TopicDeclaration(partitions=1) for number in range(5)}
    topics = reconciler(kafka_bootstrap_servers, declared, replication_factor=3)
    for _ in range(3):
        assert await topics.reconcile(admin) == []
    assert topics.readiness_problem() == (
        f"topics {topic}.0, {topic}.1, {topic}.2 and 2 more can't be created: "
        "REGISTRAR_REPLICATION_FACTOR is 3, but the cluster has 1 broker"
    )
    assert capsys.readouterr().out.count("REGISTRAR_REPLICATION_FACTOR") == 1


async def test_deleted_topic_is_created_again_without_a_delay(
    kafka_bootstrap_servers: str, admin: AIOKafkaAdminClient, topic: str
) -> None:
    topics = reconciler(kafka_bootstrap_servers, {topic: TopicDeclaration(partitions=3)})
    for _ in range(3):
        await eventually(lambda: topics.reconcile(admin), lambda created: created == [topic])
        await eventually(lambda: partitions_of(topics, admin, topic), lambda count: count == 3)
        await admin.delete_topics([topic])
