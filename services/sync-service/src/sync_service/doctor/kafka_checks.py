"""Whether Kafka answers, and what it has of the topics of the routes."""

from collections.abc import Mapping, Sequence

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import KafkaSettings
from service_kit.kafka_topics import Topic, describe_topics_by
from sync_service.check_results import Result
from sync_service.routes.config import Route

_RETENTION = "retention.ms"
_DAY_MS = 24 * 60 * 60 * 1000
_SHORTEST_DAYS = 1.0


async def kafka_results(routes: Sequence[Route], seconds: float) -> list[Result]:
    """The broker, and each topic."""
    kafka = KafkaClients.of(KafkaSettings())
    names = [route.topic for route in routes]
    try:
        async with kafka.started(kafka.admin(request_timeout_ms=int(seconds * 1000))) as admin:
            topics = await describe_topics_by(admin, names)
            existing = [name for name, found in topics.items() if isinstance(found, Topic)]
            retention = _retention(
                await admin.describe_configs(
                    [ConfigResource(ConfigResourceType.TOPIC, name, configs={_RETENTION: None}) for name in existing]
                )
                if existing
                else ()
            )
    except (KafkaError, OSError) as error:
        reason = await kafka.explain(error) if isinstance(error, KafkaError) else str(error)
        return [Result("Kafka", False, reason, "start Kafka, or correct KAFKA_BOOTSTRAP_SERVERS")]
    found = [_topic_result(name, topics[name], retention.get(name)) for name in dict.fromkeys(names)]
    return [Result("Kafka", True, f"answers at {kafka.bootstrap_servers}"), *found]


def _topic_result(name: str, topic: Topic | KafkaError, retention_ms: int | None) -> Result:
    check = f"topic {name}"
    if isinstance(topic, UnknownTopicOrPartitionError):
        return Result(check, False, "does not exist", "start the registrar, which creates it, and see its /readyz")
    if isinstance(topic, KafkaError):
        return Result(check, False, str(topic), "grant the user of Kafka the right to read and describe it")
    if topic.leaderless:
        numbers = ", ".join(map(str, topic.leaderless))
        return Result(check, False, f"partitions without a leader: {numbers}", "start the brokers that have them")
    return _retention_result(check, f"{len(topic.partitions)} partitions", retention_ms)


def _retention_result(check: str, partitions: str, retention_ms: int | None) -> Result:
    """`retention_ms` is None if it is not known, and negative if events are kept for ever."""
    if retention_ms is None:
        return Result(check, True, partitions)
    if retention_ms < 0:
        return Result(check, True, f"{partitions}, events are kept for ever")
    days = retention_ms / _DAY_MS
    remedy = f"set its {_RETENTION} to {7 * _DAY_MS}: a sync that is down for longer loses events"
    is_long = days >= _SHORTEST_DAYS
    return Result(check, is_long, f"{partitions}, events are kept for {days:.3g} days", None if is_long else remedy)


def _retention(answers: Sequence[object]) -> Mapping[str, int]:
    """By topic. Without those whose settings this user may not read."""
    return {
        topic: int(value)
        for answer in answers
        for code, _message, _kind, topic, entries, *_ in answer.resources  # type: ignore[attr-defined]  # of aiokafka's protocol
        for name, value, *_ in entries
        if not code and name == _RETENTION and value is not None
    }
