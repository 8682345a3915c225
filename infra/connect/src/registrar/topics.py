"""Creates the topics that `topics.yaml` declares, and keeps their settings as declared."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from registrar.connectors import InvalidDeclaration
from registrar.state import AttemptSchedule
from registrar.topic_configs import SetTopicConfigs
from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics_by
from service_kit.retry import Backoff, Retrier

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_MS = 5000
_RETRY_BACKOFF = Backoff(initial=0.5, maximum=0.5, jitter=0.0)
# A created topic can take this long to appear in the brokers' metadata. Then it counts as missing.
_APPEARANCE_SECONDS = 5.0
MAX_MESSAGE_BYTES = "max.message.bytes"
# The interval between two comparisons of the topics' settings. Whether topics exist is checked at each poll.
_SETTINGS_SECONDS = 60.0


class TopicDeclaration(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    partitions: int = Field(ge=1)
    config: dict[str, str] = {}

    def with_records_of(self, max_message_bytes: int) -> "TopicDeclaration":
        """Accept records of this size, unless the declaration itself limits them."""
        return self.model_copy(update={"config": {MAX_MESSAGE_BYTES: str(max_message_bytes), **self.config}})


def load_topics(file: Path) -> dict[str, TopicDeclaration]:
    """Read `topics.yaml`. Raises `InvalidDeclaration`."""
    try:
        return TypeAdapter(dict[str, TopicDeclaration]).validate_python(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, ValidationError, yaml.YAMLError) as error:
        raise InvalidDeclaration(f"{file.name}: {error}") from error


@dataclass
class TopicReconciler:
    """Creates missing topics, sets their declared settings and reports every other difference.

    `problems` has a sentence for each declared topic with a problem, `partitions` the number of partitions of each
    declared or `other` topic whose partitions all have a leader. No other topics are requested: a cluster may have
    thousands. No partitions are added, because keys would move to other partitions. No replicas are added, because an
    operator has to plan the copying. A topic that accepts larger records than the clients of `kafka` write stays so.

    `changes` counts created topics and changed settings.
    """

    kafka: KafkaClients
    declared: Mapping[str, TopicDeclaration]
    replication_factor: int = 1
    other: Collection[str] = ()
    problems: dict[str, str] = field(default_factory=dict, init=False)
    partitions: dict[str, int] = field(default_factory=dict, init=False)
    changes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._creation = AttemptSchedule()
        self._created_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._deviating: dict[str, str] = {}
        self._unreadable: set[str] = set()
        self._settings_are_due_at = float("-inf")
        self._next: tuple[Mapping[str, TopicDeclaration], Collection[str]] | None = None

    def declare(self, declared: Mapping[str, TopicDeclaration], other: Collection[str]) -> None:
        """Keep these topics from the next `reconcile` on. Topics that are not declared any more stay."""
        self._next = declared, other

    @property
    def is_declared(self) -> bool:
        """Has a `reconcile` begun since the last `declare`?"""
        return self._next is None

    async def reconcile(self, admin: AIOKafkaAdminClient) -> list[str]:
        """Return the topics that were created. Raises `KafkaError` if the broker does not answer."""
        if self._next is not None:
            # Not in the middle: between two requests to the broker the declarations must not change.
            (self.declared, self.other), self._next = self._next, None
            self._creation.reset()
        now = time.monotonic()
        existing = await self._existing(admin)
        self._created_at = {
            name: created_at
            for name, created_at in self._created_at.items()
            if name not in existing and now < created_at + _APPEARANCE_SECONDS
        }
        missing = [name for name in self.declared if name not in existing and name not in self._created_at]
        created: list[str] = []
        if missing and (self._creation.is_due(now) or not self._refused.keys() >= set(missing)):
            self._creation.attempt(now)
            created = await self._create(admin, missing)
            self._created_at.update(dict.fromkeys(created, now))
            existing = await self._existing(admin)
        if not missing:
            self._creation.reset()
        self._refused = {name: reason for name, reason in self._refused.items() if name not in existing}
        if now >= self._settings_are_due_at:
            await self._align_settings(admin, [name for name in self.declared if name in existing])
            self._settings_are_due_at = now + _SETTINGS_SECONDS
        self.partitions = {name: len(topic.partitions) for name, topic in existing.items() if not topic.leaderless}
        self._report({name: problem for name in self.declared if (problem := self._problem(name, existing.get(name)))})
        return created

    async def _existing(self, admin: AIOKafkaAdminClient) -> dict[str, Topic]:
        described = await describe_topics_by(admin, [*self.declared, *self.other])
        return {name: topic for name, topic in described.items() if isinstance(topic, Topic)}

    def readiness_problem(self) -> str | None:
        """All problems in one sentence. Topics with the same problem are listed together."""
        by_problem: dict[str, list[str]] = {}
        for name, problem in self.problems.items():
            by_problem.setdefault(problem, []).append(name)
        return "; ".join(f"{_named(names)} {problem}" for problem, names in by_problem.items()) or None

    async def _create(self, admin: AIOKafkaAdminClient, missing: Iterable[str]) -> list[str]:
        new = [
            NewTopic(
                name,
                self.declared[name].partitions,
                self.replication_factor,
                topic_configs=self.declared[name].with_records_of(self.kafka.max_message_bytes).config,
            )
            for name in missing
        ]
        try:
            answer = await admin.create_topics(new)
        except TimeoutError as error:
            # aiokafka 0.14 raises the built-in error if it can't connect to the controller.
            raise KafkaTimeoutError("the controller does not answer") from error
        created = []
        for name, code, *message in answer.topic_errors:
            if not code:
                created.append(name)
                self.changes += 1
            elif for_code(code) is InvalidReplicationFactorError:
                self._refused[name] = await self._too_many_replicas(admin, message)
            elif for_code(code) is TopicAlreadyExistsError:
                # If another registrar created it, the next poll finds it.
                self._refused[name] = "exists, but this user does not see it: the right to describe it is missing"
            else:
                self._refused[name] = f"can't be created: {_refusal(code, *message)}"
        return created

    async def _too_many_replicas(self, admin: AIOKafkaAdminClient, message: Iterable[str | None]) -> str:
        brokers = len((await admin.describe_cluster())["brokers"])
        if self.replication_factor <= brokers:
            return f"can't be created: {_refusal(InvalidReplicationFactorError.errno, *message)}"
        cluster = "1 broker" if brokers == 1 else f"{brokers} brokers"
        factor = self.replication_factor
        return f"can't be created: REGISTRAR_REPLICATION_FACTOR is {factor}, but the cluster has {cluster}"

    async def _align_settings(self, admin: AIOKafkaAdminClient, names: Iterable[str]) -> None:
        resources = [
            ConfigResource(
                ConfigResourceType.TOPIC, name, dict.fromkeys([MAX_MESSAGE_BYTES, *self.declared[name].config])
            )
            for name in names
        ]
        if not resources:
            return
        self._deviating = {}
        changes: dict[str, dict[str, str]] = {}
        for code, message, _, name, entries in (await admin.describe_configs(resources))[0].resources:
            if code:
                self._report_unreadable(name, code, message)
                continue
            actual = {setting: value for setting, value, *_ in entries}
            declared = self.declared[name].config
            different = {each: value for each, value in declared.items() if actual.get(each) != value}
            needed = self.kafka.max_message_bytes
            if MAX_MESSAGE_BYTES not in declared and int(actual.get(MAX_MESSAGE_BYTES) or 0) < needed:
                different[MAX_MESSAGE_BYTES] = str(needed)
            if different:
                changes[name] = different
                before = ", ".join(f"{each}={actual.get(each)}" for each in different)
                after = ", ".join(f"{each}={value}" for each, value in different.items())
                self._deviating[name] = f"has {before} instead of {after}"
        if changes:
            await self._change_settings(changes)

    def _report_unreadable(self, name: str, code: int, message: str | None) -> None:
        """Log once that settings can't be read; they may be as declared. A deleted topic is reported as missing."""
        if code != UnknownTopicOrPartitionError.errno and name not in self._unreadable:
            self._unreadable.add(name)
            log.warning("topic settings unreadable", topic=name, reason=_refusal(code, message))

    async def _change_settings(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        async with self.kafka.started(self.kafka.client(request_timeout_ms=REQUEST_TIMEOUT_MS)) as client:
            answer = await client.send(client.get_random_node(), SetTopicConfigs(changes))
        for code, message, _, name in answer.resources:
            deviation = self._deviating.pop(name)
            if code:
                self._deviating[name] = f"{deviation}, and the change is refused: {_refusal(code, message)}"
            else:
                self.changes += 1
                log.warning("topic settings changed", topic=name, why=deviation, notable=True)

    def _problem(self, name: str, topic: Topic | None) -> str | None:
        if topic is None:
            return None if name in self._created_at else self._refused.get(name, "is missing")
        count, declared = len(topic.partitions), self.declared[name].partitions
        if count != declared:
            return (
                f"has {count} partitions instead of {declared}; they stay, because keys would move to other ones: "
                "change its declaration, or delete the topic to have it created again"
            )
        if topic.leaderless:
            return f"has {len(topic.leaderless)} of {count} partitions without a leader: their broker is down"
        return self._deviating.get(name)

    def _report(self, problems: dict[str, str]) -> None:
        """Log a change of the problems."""
        before, self.problems = self.readiness_problem(), problems
        if (now := self.readiness_problem()) != before:
            log.warning("topic problems changed", problem=now or "none", notable=True)


async def ensure_topics(
    kafka: KafkaClients,
    declared: Mapping[str, TopicDeclaration],
    *,
    replication_factor: int = 1,
    deadline_seconds: float,
) -> list[str]:
    """Create missing topics and return their names. If the broker is down or refuses a topic, this is retried.

    Raises `TimeoutError` with the reason of the last failure if topics are missing after the deadline.
    """
    topics = TopicReconciler(kafka, declared, replication_factor)
    created: list[str] = []
    reason = "the broker does not answer"

    async def reconcile() -> None:
        nonlocal reason
        try:
            async with kafka.started(kafka.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)) as admin:
                created.extend(await topics.reconcile(admin))
        except KafkaError as error:
            before, reason = reason, await kafka.explain(error)
            if reason != before:
                log.warning("topics can't be created yet", reason=reason)
            raise
        if not topics.partitions.keys() >= declared.keys():
            reason = topics.readiness_problem() or reason
            raise _TopicsMissing

    try:
        async with asyncio.timeout(deadline_seconds):
            await Retrier(on=(KafkaError, _TopicsMissing), backoff=_RETRY_BACKOFF).run(reconcile)
    except TimeoutError as error:
        raise TimeoutError(reason) from error
    return created


class _TopicsMissing(Exception):  # noqa: N818 - a state of the broker, not a fault of the program
    """A declared topic can't be used yet."""


def _named(names: list[str]) -> str:
    first, more = names[:3], len(names) - 3
    listed = ", ".join(first) + (f" and {more} more" if more > 0 else "")
    return f"{'topic' if len(names) == 1 else 'topics'} {listed}"


def _refusal(code: int, message: str | None = None) -> str:
    error = for_code(code)
    return f"{error.message}: {message or error.description}"
