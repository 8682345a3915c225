"""Reads the topics to which Debezium writes the DDL statements of captured tables: each has its connector's prefix."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics_by
from sync_service.debezium.errors import InvalidEvent
from sync_service.kafka.clients import REQUEST_TIMEOUT_MS, StandaloneClients, read_until
from sync_service.kafka.deadlines import within
from sync_service.sinks.mysql.statements import Statement, read_statement

_READ_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Logged:
    """The statements of a topic up to the `end` of its log. `lost`: some before them were deleted or can't be read."""

    topic_id: str
    end: int
    statements: Sequence[Statement]
    lost: bool

    @property
    def state(self) -> str:
        """For the next `read`."""
        return f"{self.topic_id}:{self.end}"


class StatementLog:
    """Connects on first use, and again after a failure."""

    def __init__(self, kafka: KafkaClients) -> None:
        self._clients = StandaloneClients(kafka, client_id="sync-service-ddl", request_timeout_ms=REQUEST_TIMEOUT_MS)

    async def read(self, states: Mapping[str, str | None]) -> Mapping[str, Logged]:
        """The new statements of topics since their states; None: from the beginning. Topics may be missing.

        Raises `KafkaError`, `OSError`.
        """
        try:
            async with within(_READ_SECONDS, "no statements"):
                return await self._read(states)
        except (KafkaError, OSError):
            await self.close()
            raise

    async def close(self) -> None:
        await self._clients.close()

    async def _read(self, states: Mapping[str, str | None]) -> Mapping[str, Logged]:
        consumer, admin = await self._clients.connected()
        topics = await _existing(admin, states)
        # Debezium writes to the first partition only.
        places = {name: TopicPartition(name, 0) for name in topics}
        if set(places.values()) != consumer.assignment():
            consumer.assign(list(places.values()))
            consumer.pause(*places.values())
        if not places:
            return {}
        begins = await consumer.beginning_offsets(list(places.values()))
        ends = await consumer.end_offsets(list(places.values()))
        return {
            name: await _read_log(consumer, place, topics[name], states[name], (begins[place], ends[place]))
            for name, place in places.items()
        }


async def _existing(admin: AIOKafkaAdminClient, names: Iterable[str]) -> Mapping[str, Topic]:
    """Raises `KafkaError`."""
    topics: dict[str, Topic] = {}
    for name, found in (await describe_topics_by(admin, list(names))).items():
        if isinstance(found, Topic):
            topics[name] = found
        elif not isinstance(found, UnknownTopicOrPartitionError):
            raise found
    return topics


async def _read_log(
    consumer: AIOKafkaConsumer, place: TopicPartition, topic: Topic, state: str | None, log: tuple[int, int]
) -> Logged:
    """`log` is where it begins and ends."""
    begin, end = log
    known_id, _, known_end = (state or f"{topic.id}:0").rpartition(":")
    is_known = known_id == topic.id and int(known_end) <= end
    start = max(begin, int(known_end) if is_known else 0)
    lost = state is not None and (not is_known or begin > int(known_end))
    statements: list[Statement] = []
    if start < end:
        async for record in read_until(consumer, {place: (start, end)}):
            try:
                statement = read_statement(record.value)
            except InvalidEvent:
                lost = True
                continue
            if statement is not None:
                statements.append(statement)
    return Logged(topic.id, end, statements, lost)
