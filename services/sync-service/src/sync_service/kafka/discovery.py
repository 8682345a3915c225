"""A consumer that discovers topics and partitions that are created later."""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from sync_service.kafka.clients import consumer_of_topics

# The longest time until a new topic or partition is read.
DISCOVER_SECONDS = 30.0


@asynccontextmanager
async def discovering_consumer(
    kafka: KafkaClients, topics: Collection[str], *, client_id: str
) -> AsyncIterator["DiscoveringConsumer"]:
    """Raises `KafkaError` if the broker does not answer, or lacks all of the topics."""
    described = await describe_topics(kafka, topics)
    existing = [topic for topic in described.values() if isinstance(topic, Topic)]
    if not existing:
        problems = (each for each in described.values() if isinstance(each, KafkaError))
        raise next(problems, UnknownTopicOrPartitionError("there are no routes"))
    async with consumer_of_topics(kafka, existing, client_id=client_id) as consumer:
        yield DiscoveringConsumer(kafka, consumer, topics, described)


class DiscoveringConsumer:
    """`consumer` has all partitions of the topics that existed at the latest `discover`."""

    def __init__(
        self,
        kafka: KafkaClients,
        consumer: AIOKafkaConsumer,
        topics: Collection[str],
        described: Mapping[str, Topic | KafkaError],
    ) -> None:
        self.consumer = consumer
        self._kafka = kafka
        self._topics = topics
        self._described = described
        self._discover_at = time.monotonic() + DISCOVER_SECONDS

    @property
    def missing(self) -> Collection[str]:
        """The names of topics that do not exist or can't be read."""
        return [name for name, found in self._described.items() if isinstance(found, KafkaError)]

    async def discover(self) -> None:
        """Assign new topics and partitions, from their beginning. Call it between fetches.

        It asks the broker every `DISCOVER_SECONDS`.

        A topic that existed and could not be read before is read from its end. Raises `KafkaError`.
        """
        if time.monotonic() < self._discover_at:
            return
        described = await describe_topics(self._kafka, self._topics)
        self._discover_at = time.monotonic() + DISCOVER_SECONDS
        former, self._described = self._described, described
        assigned = self.consumer.assignment()
        readable = {
            partition
            for topic in described.values()
            if isinstance(topic, Topic)
            for partition in topic.topic_partitions
        }
        # Partitions of a topic that can't be described at the moment are kept.
        readable |= {partition for partition in assigned if _is_unknown(described[partition.topic])}
        created = {name for name, found in described.items() if _was_created(former[name], found)}
        kept = {partition for partition in readable & assigned if partition.topic not in created}
        if not readable or readable == kept == assigned:
            return
        positions = {partition: await self.consumer.position(partition) for partition in kept}
        self.consumer.assign(sorted(readable))
        for partition, offset in positions.items():
            self.consumer.seek(partition, offset)
        new = readable - kept
        beginning = {
            partition for partition in new if partition.topic in created or isinstance(former[partition.topic], Topic)
        }
        if beginning:
            await self.consumer.seek_to_beginning(*beginning)
        if end := new - beginning:
            await self.consumer.seek_to_end(*end)


def _is_unknown(found: Topic | KafkaError) -> bool:
    return isinstance(found, KafkaError) and not isinstance(found, UnknownTopicOrPartitionError)


def _was_created(before: Topic | KafkaError, now: Topic | KafkaError) -> bool:
    """Or created again."""
    if not isinstance(now, Topic):
        return False
    return isinstance(before, UnknownTopicOrPartitionError) or (isinstance(before, Topic) and before.id != now.id)
