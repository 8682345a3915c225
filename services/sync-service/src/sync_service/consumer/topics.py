"""The topics that a reader needs."""

from collections.abc import Iterable, Mapping

from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics


async def existing_topics(kafka: KafkaClients, names: Iterable[str]) -> Mapping[str, Topic]:
    """All of these topics. Raises `KafkaError`: the broker does not answer, or lacks one of them."""
    existing = {}
    for name, topic in (await describe_topics(kafka, names)).items():
        if isinstance(topic, KafkaError):
            raise topic
        existing[name] = topic
    return existing
