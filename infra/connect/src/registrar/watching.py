"""The loop that keeps the connectors as declared."""

import asyncio
import random
import re
import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import structlog
from aiokafka.errors import KafkaError

from registrar.connect_client import ConnectClient
from registrar.connectors import Connector
from registrar.heartbeats import HeartbeatReader, heartbeat_reader
from registrar.metrics import RegistrarMetrics
from registrar.observation import Action, Observation, Watch
from registrar.settings import Settings
from registrar.topics import TopicDeclaration, TopicMismatch, create_missing_topics
from service_kit.http_client import internal_client
from service_kit.kafka import KafkaClients

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 15.0
_LONGEST_FAILURE = 500
# What stack and broker do now and then; anything else is logged with its traceback.
_FORESEEN = (httpx.HTTPError, KafkaError, TimeoutError, TopicMismatch, ValueError)
# In addresses, and as MySQL names who was denied.
_ACCOUNT = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=')[^'\s]*'@'[^'\s]*(?=')")
# Names of a connector's settings whose values nobody may read.
_SECRET_SETTINGS = ("password", "connection.string")


@dataclass
class Registrar:
    """Watches the declared connectors until it is cancelled.

    `problems` is what the last look found, `seen` what it saw: nothing, if it was not possible. `repairs` are counted
    since the process began.
    """

    settings: Settings
    connectors: Sequence[Connector]
    topics: Mapping[str, TopicDeclaration]
    metrics: RegistrarMetrics
    problems: dict[str, str | None] = field(init=False)
    seen: dict[str, Observation] = field(default_factory=dict, init=False)
    repairs: Tally[str] = field(default_factory=Tally, init=False)

    def __post_init__(self) -> None:
        self.problems = {connector.name: "not looked at yet" for connector in self.connectors}
        self._kafka = KafkaClients.of(self.settings)
        self._refusals: dict[str, str] = {}
        limit = self.settings.registrar_heartbeat_limit_seconds
        self._watches = {connector.name: Watch(heartbeat_limit=limit) for connector in self.connectors}

    async def run(self) -> None:
        """Watch; whatever goes wrong is tried again, after pauses that grow."""
        failures, reported = 0, None
        async with internal_client(str(self.settings.connect_url), timeout=10) as http:
            while True:
                try:
                    await self._ensure_topics()
                    topics = [connector.heartbeat_topic for connector in self.connectors]
                    async with heartbeat_reader(self._kafka, topics) as heartbeats:
                        while True:
                            await self._look(ConnectClient(http), heartbeats)
                            failures, reported = 0, None
                            await asyncio.sleep(self.settings.registrar_poll_seconds)
                # Nobody awaits this task: if it ended, the last look would be told as the latest for ever.
                except Exception as error:
                    failures += 1
                    reason = fit(await self._reason(error))
                    if reason != reported:
                        unforeseen = None if isinstance(error, _FORESEEN) else error
                        log.warning("connector status check failed", reason=reason, exc_info=unforeseen)
                    reported = reason
                    self._no_look(reason)
                await asyncio.sleep(pause_after(failures) * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret

    async def _reason(self, error: Exception) -> str:
        return await self._kafka.explain(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}"

    async def _ensure_topics(self) -> None:
        created = await create_missing_topics(
            self._kafka, self.topics, replication_factor=self.settings.registrar_replication_factor
        )
        if created:
            log.warning("topics created", topics=created)

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
        self.repairs[connector.name] += 1
        try:
            if action is Action.PUT:
                await connect.put(connector.name, connector.config)
            else:
                await connect.restart(connector.name)
        except httpx.HTTPStatusError as error:
            # Of this connector alone: the others are watched on.
            refusal = f"Connect refuses it: {_refusal(error.response, connector.config)}"
            self._refusals[connector.name] = self.problems[connector.name] = refusal
            log.warning("connector refused", connector=connector.name, reason=refusal)
        else:
            self._refusals.pop(connector.name, None)

    def _record(self, connector: Connector, seen: Observation) -> None:
        name = connector.name
        problem = self._watches[name].problem(seen, connector.config)
        if problem is not None:
            # Until the next repair, which may be a minute off: why it is not there says more than that it is not.
            problem = self._refusals.get(name, problem)
        if problem != self.problems[name] and (problem is None or self.problems[name] is None):
            log.info("connector state", connector=name, problem=problem or "none: it works", notable=True)
        self.problems[name] = problem
        self.seen[name] = seen
        self.metrics.see(name, seen, healthy=problem is None)

    def _no_look(self, reason: str) -> None:
        self.seen.clear()
        for name in self.problems:
            self.problems[name] = f"unknown ({reason})"
        self.metrics.fail_to_look()


def pause_after(failures: int) -> float:
    """In seconds. Of hours without Kafka Connect the count is more than a float takes as an exponent."""
    return min(0.5 * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)


def observation(known: Mapping[str, object] | None, heartbeat_age: float | None) -> Observation:
    """Read one entry of `GET /connectors?expand=info&expand=status`."""
    if known is None:
        return Observation(config=None, heartbeat_age=heartbeat_age)
    match known:
        case {
            "info": {"config": dict(config)},
            "status": {"connector": {"state": str(state)} as connector, "tasks": list(tasks)},
        }:
            task_states = tuple(str(task["state"]) for task in tasks)
            return Observation(config, state, task_states, heartbeat_age, _failure([connector, *tasks]))
    # Not the answer itself, which has the configuration in it, and so the passwords.
    raise ValueError(f"Connect's answer is not understood; it has {', '.join(sorted(known.keys())) or 'nothing'}")


def fit(text: str, config: Mapping[str, str] | None = None) -> str:
    """In one line, of bearable length, and without accounts and passwords, those in addresses and those of `config`."""
    for name, value in (config or {}).items():
        if value and name.endswith(_SECRET_SETTINGS):
            text = text.replace(value, "…")
    return _ACCOUNT.sub("…", " ".join(text.split()))[:_LONGEST_FAILURE]


def _failure(parts: Sequence[Mapping[str, object]]) -> str | None:
    """What the first part that failed has failed of: the first line of its trace, which often says no more than that
    it failed, and the last cause.
    """
    for part in parts:
        if isinstance(trace := part.get("trace"), str) and trace.strip():
            first, *others = trace.strip().splitlines()
            causes = [line.removeprefix("Caused by: ") for line in others if line.startswith("Caused by: ")]
            return fit("; cause: ".join([first, *causes[-1:]]))
    return None


def _refusal(answer: httpx.Response, config: Mapping[str, str]) -> str:
    """Connect's `message`, or whatever it says instead."""
    try:
        told = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        told = answer.text
    return f"{answer.status_code} {fit(str(told), config)}"
