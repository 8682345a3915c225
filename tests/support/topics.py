"""Topics of one test."""

from collections.abc import Mapping

from aiokafka.admin import NewTopic

from service_kit.kafka import KafkaClients


async def create_topics(
    bootstrap_servers: str, *names: str, partitions: int = 1, configs: Mapping[str, str] | None = None
) -> None:
    kafka = KafkaClients(bootstrap_servers)
    async with kafka.started(kafka.admin()) as admin:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs) for name in names])
