"""The topics as declared in `topics.yaml`, and how they get onto the broker."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog
import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from registrar.connectors import InvalidDeclaration
from service_kit.kafka import KafkaClients

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_MS = 5000
_RETRY_SECONDS = 0.5


class TopicDeclaration(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    partitions: int = Field(ge=1)
    config: dict[str, str] = {}


class TopicMismatch(Exception):  # noqa: N818 - a state of the broker, not a fault of the program
    """A topic is there, but not as declared; the message names it."""


def load_topics(file: Path) -> dict[str, TopicDeclaration]:
    """Read `topics.yaml`. Raises `InvalidDeclaration`."""
    try:
        return TypeAdapter(dict[str, TopicDeclaration]).validate_python(yaml.safe_load(file.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise InvalidDeclaration(f"{file.name}: {error}") from error


async def ensure_topics(
    kafka: KafkaClients,
    declared: Mapping[str, TopicDeclaration],
    *,
    replication_factor: int = 1,
    deadline_seconds: float,
) -> list[str]:
    """Create what is missing and return its names; a broker that is down is waited for. What is there keeps its
    replicas: more of them are copied from broker to broker, which somebody has to plan.

    Raises `TopicMismatch` if a topic exists with another number of partitions; after the deadline `TimeoutError`,
    which says what the last attempt failed of.
    """
    reason = "the broker does not answer"
    try:
        async with asyncio.timeout(deadline_seconds):
            while True:
                try:
                    return await create_missing_topics(kafka, declared, replication_factor=replication_factor)
                except KafkaError as error:
                    reason, before = await kafka.explain(error), reason
                    if reason != before:
                        log.warning("the topics can't be made yet", reason=reason)
                    await asyncio.sleep(_RETRY_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(reason) from error


async def create_missing_topics(
    kafka: KafkaClients, declared: Mapping[str, TopicDeclaration], *, replication_factor: int = 1
) -> list[str]:
    """As `ensure_topics`, without waiting for the broker. Raises `KafkaError`, `TopicMismatch`."""
    async with kafka.started(kafka.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)) as admin:
        # A question about all topics; one about a topic by name could create it.
        existing = set(await admin.list_topics())
        missing = [name for name in declared if name not in existing]
        if missing:
            await _create(admin, {name: declared[name] for name in missing}, replication_factor)
        await _verify(admin, declared)
        return missing


async def _create(admin: AIOKafkaAdminClient, missing: Mapping[str, TopicDeclaration], replication_factor: int) -> None:
    answer = await admin.create_topics(
        [
            NewTopic(name, topic.partitions, replication_factor, topic_configs=topic.config)
            for name, topic in missing.items()
        ]
    )
    for topic, code, *message in answer.topic_errors:
        error = for_code(code)
        # Another registrar may have been quicker.
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{topic}: {message}")


async def _verify(admin: AIOKafkaAdminClient, declared: Mapping[str, TopicDeclaration]) -> None:
    for topic in await admin.describe_topics(list(declared)):
        name, count = topic["topic"], len(topic["partitions"])
        if count != declared[name].partitions:
            raise TopicMismatch(
                f"topic {name} has {count} partitions instead of {declared[name].partitions}; "
                "delete it, or change topics.yaml if that is what you want"
            )
