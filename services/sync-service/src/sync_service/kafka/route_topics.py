"""The topics of the routes: which are readable, and which routes wait for their topic."""

import time
from collections.abc import Mapping

import structlog
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from sync_service.apply.processor import RouteProcessor
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC

log = structlog.get_logger(__name__)

# The pause before a denied topic is tried again: each attempt is a rebalance of the whole group.
DENIED_SECONDS = 60.0


class TopicRecreated(Exception):  # noqa: N818 - an event
    """A topic was deleted and created again: it is read from its beginning."""


class RouteTopics:
    """The topics as of the last `refresh`. `readable` is by name; every other route has a reason why it waits."""

    def __init__(self, kafka: KafkaClients, processors: Mapping[str, RouteProcessor]) -> None:
        """`processors` by topic."""
        self._kafka = kafka
        self._processors = processors
        self._ids: dict[str, str] = {}
        self._denied: dict[str, float] = {}
        self._dead_letters_problem: str | None = None
        self.readable: Mapping[str, Topic] = {}

    @property
    def problem(self) -> str | None:
        """The problem of the dead letters' topic. Problems of other topics are in the statistics of their routes."""
        return self._dead_letters_problem

    async def refresh(self) -> None:
        """Describe all topics. Raises `TopicRecreated`, and `KafkaError` if the broker does not answer.

        Any error in the description of a topic concerns that topic only.
        """
        described = await describe_topics(self._kafka, [*self._processors, DEAD_LETTERS_TOPIC])
        described = {name: self._unless_denied(name, found) for name, found in described.items()}
        self._dead_letters_problem = await self._problem_of(described[DEAD_LETTERS_TOPIC])
        for name, processor in self._processors.items():
            await self.note(processor, described[name])
        self.readable = {
            name: topic for name, topic in described.items() if name in self._processors and isinstance(topic, Topic)
        }
        self._note_ids()

    def deny(self, *names: str) -> None:
        """Treat topics as unreadable for `DENIED_SECONDS`: the broker describes them, but denies reading them."""
        self._denied.update(dict.fromkeys(names, time.monotonic() + DENIED_SECONDS))

    def _unless_denied(self, name: str, found: Topic | KafkaError) -> Topic | KafkaError:
        denied = isinstance(found, Topic) and self._denied.get(name, 0.0) > time.monotonic()
        return TopicAuthorizationFailedError(name) if denied else found

    async def note(self, processor: RouteProcessor, found: Topic | KafkaError) -> None:
        """Log the state of a route's topic when it changes."""
        problem, before = await self._problem_of(found), processor.statistics.waits_for_topic
        processor.statistics.waits_for_topic = problem
        if problem == before:
            return
        if problem is not None:
            log.warning("route waits for its topic", route=processor.route.name, reason=problem, notable=True)
        else:
            log.info("route reads its topic", route=processor.route.name, notable=True)

    def _note_ids(self) -> None:
        recreated = False
        for name, topic in self.readable.items():
            before = self._ids.get(name, topic.id)
            self._ids[name] = topic.id
            if before != topic.id:
                log.warning("topic was created again", topic=name, before=before, now=topic.id, notable=True)
                self._processors[name].note_new_topic()
                recreated = True
        if recreated:
            raise TopicRecreated

    async def _problem_of(self, found: Topic | KafkaError) -> str | None:
        return f"Kafka: {await self._kafka.explain(found)}" if isinstance(found, KafkaError) else None
