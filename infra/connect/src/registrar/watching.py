"""The loop that keeps the connectors as declared."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Counter, Gauge

from registrar.connect_client import ConnectClient
from registrar.connectors import Connector
from registrar.heartbeats import HeartbeatReader
from registrar.observation import Action, Observation, Watch
from registrar.settings import Settings
from registrar.topics import TopicDeclaration, TopicMismatch, ensure_topics

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 15.0
_TOPICS_DEADLINE_SECONDS = 30.0


class RegistrarMetrics:
    """The registrar's Prometheus metrics, by connector."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.healthy = Gauge(
            "registrar_connector_healthy",
            "1 if connector and tasks are RUNNING and the heartbeat is fresh.",
            ["connector"],
            registry=registry,
        )
        self.running = Gauge(
            "registrar_connector_running",
            "1 if Connect reports connector and tasks RUNNING, which alone is no proof of life.",
            ["connector"],
            registry=registry,
        )
        self.heartbeat_age = Gauge(
            "registrar_heartbeat_age_seconds",
            "Age of the newest heartbeat.",
            ["connector"],
            registry=registry,
        )
        self.repairs = Counter(
            "registrar_repairs", "Connectors put or restarted.", ["connector", "action"], registry=registry
        )


@dataclass
class Registrar:
    """Watches the declared connectors until it is cancelled; `problems` is what the last look found."""

    settings: Settings
    connectors: Sequence[Connector]
    topics: Mapping[str, TopicDeclaration]
    metrics: RegistrarMetrics
    problems: dict[str, str | None] = field(init=False)
    seen: dict[str, Observation] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.problems = {connector.name: "not looked at yet" for connector in self.connectors}
        limit = self.settings.registrar_heartbeat_limit_seconds
        self._watches = {connector.name: Watch(heartbeat_limit=limit) for connector in self.connectors}

    async def run(self) -> None:
        """Watch; whatever does not answer is tried again, after pauses that grow."""
        failures = 0
        async with httpx.AsyncClient(base_url=str(self.settings.connect_url), timeout=10) as http:
            while True:
                try:
                    await self._ensure_topics()
                    async with self._heartbeats() as heartbeats:
                        while True:
                            await self._look(ConnectClient(http), heartbeats)
                            failures = 0
                            await asyncio.sleep(self.settings.registrar_poll_seconds)
                except (httpx.HTTPError, KafkaError, TimeoutError, TopicMismatch, ValueError) as error:
                    failures += 1
                    reason = f"{type(error).__name__}: {error}"
                    log.warning("no look at the connectors", reason=reason)
                    self._no_look(reason)
                pause = min(0.5 * 2**failures, _LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret

    async def _ensure_topics(self) -> None:
        created = await ensure_topics(
            self.settings.kafka_bootstrap_servers, self.topics, deadline_seconds=_TOPICS_DEADLINE_SECONDS
        )
        if created:
            log.warning("topics created", topics=created)

    def _heartbeats(self) -> HeartbeatReader:
        topics = [connector.heartbeat_topic for connector in self.connectors]
        return HeartbeatReader(self.settings.kafka_bootstrap_servers, topics)

    async def _look(self, connect: ConnectClient, heartbeats: HeartbeatReader) -> None:
        known = await connect.connectors()
        ages = await heartbeats.ages()
        repairs = []
        for connector in self.connectors:
            seen = observation(known.get(connector.name), ages.get(connector.heartbeat_topic))
            self._record(connector, seen)
            action = self._watches[connector.name].decide(seen, connector.config, time.monotonic())
            if action is not Action.NONE:
                repairs.append(self._repair(connect, connector, action))
        # At once: each time that Connect settles anew takes seconds, and it settles for all together.
        await asyncio.gather(*repairs)

    async def _repair(self, connect: ConnectClient, connector: Connector, action: Action) -> None:
        log.warning("repairing connector", connector=connector.name, action=action, why=self.problems[connector.name])
        self.metrics.repairs.labels(connector.name, action).inc()
        if action is Action.PUT:
            await connect.put(connector.name, connector.config)
        else:
            await connect.restart(connector.name)

    def _record(self, connector: Connector, seen: Observation) -> None:
        name = connector.name
        problem = self._watches[name].problem(seen, connector.config)
        if problem != self.problems[name] and (problem is None or self.problems[name] is None):
            log.info("connector state", connector=name, problem=problem or "none: it works", notable=True)
        self.problems[name] = problem
        self.seen[name] = seen
        self.metrics.healthy.labels(name).set(problem is None)
        self.metrics.running.labels(name).set(seen.running)
        if seen.heartbeat_age is not None:
            self.metrics.heartbeat_age.labels(name).set(seen.heartbeat_age)

    def _no_look(self, reason: str) -> None:
        for name in self.problems:
            self.problems[name] = f"unknown ({reason})"
            self.metrics.healthy.labels(name).set(0)


def observation(known: Mapping[str, object] | None, heartbeat_age: float | None) -> Observation:
    """Read one entry of `GET /connectors?expand=info&expand=status`."""
    if known is None:
        return Observation(config=None, heartbeat_age=heartbeat_age)
    match known:
        case {"info": {"config": dict(config)}, "status": {"connector": {"state": str(state)}, "tasks": list(tasks)}}:
            task_states = tuple(str(task["state"]) for task in tasks)
            return Observation(config, state, task_states, heartbeat_age)
    raise ValueError(f"Connect's answer is not understood: {known}")
