"""The loop that keeps topics and connectors as declared."""

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
import structlog
from aiokafka.errors import KafkaError

from registrar.broker import Broker, BrokerState
from registrar.connect_client import ConnectClient, ConnectorRefused
from registrar.connectors import Connector
from registrar.metrics import RegistrarMetrics
from registrar.observation import Action, Observation, Watch
from registrar.redaction import redact
from registrar.settings import Settings
from registrar.topics import TopicDeclaration, TopicReconciler
from service_kit.http_client import internal_client
from service_kit.kafka import KafkaClients

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0
_CONNECT_TIMEOUT_SECONDS = 10.0
# What stack and broker do now and then; anything else is logged with its traceback.
_FORESEEN = (httpx.HTTPError, KafkaError, TimeoutError, ValueError, asyncio.CancelledError)


@dataclass
class Registrar:
    """Watches the declared topics and connectors until it is cancelled.

    `problems` is what the last look found about each connector, `topics_problem` about the topics and the broker;
    `seen` is what it saw: nothing, if Connect did not answer. `repairs` are counted since the process began.
    """

    settings: Settings
    connectors: Sequence[Connector]
    topics: Mapping[str, TopicDeclaration]
    metrics: RegistrarMetrics
    problems: dict[str, str | None] = field(init=False)
    topics_problem: str | None = field(default="not looked at yet", init=False)
    seen: dict[str, Observation] = field(default_factory=dict, init=False)
    repairs: Tally[str] = field(default_factory=Tally, init=False)

    def __post_init__(self) -> None:
        self.problems = {connector.name: "not looked at yet" for connector in self.connectors}
        self._kafka = KafkaClients.of(self.settings)
        factor = self.settings.registrar_replication_factor
        heartbeats = [connector.heartbeat_topic for connector in self.connectors]
        self._topics = TopicReconciler(self._kafka, self.topics, factor, heartbeats)
        self._refusals: dict[str, str] = {}
        limit = self.settings.registrar_heartbeat_limit_seconds
        self._watches = {each.name: Watch(each.name, heartbeat_limit=limit) for each in self.connectors}
        self._repairing: set[str] = set()
        self._reported: dict[str, str] = {}

    async def run(self) -> None:
        """Watch; whatever goes wrong is tried again, after pauses that grow."""
        failures = 0
        broker = Broker(self._kafka, self._topics, [connector.heartbeat_topic for connector in self.connectors])
        http = internal_client(str(self.settings.connect_url), timeout=_CONNECT_TIMEOUT_SECONDS)
        try:
            async with http, asyncio.TaskGroup() as repairs:
                while True:
                    try:
                        answered = await self._poll(ConnectClient(http), broker, repairs)
                    # If the loop ended, the last look would be reported as the latest for ever.
                    except Exception as error:  # noqa: BLE001 - logged there, with its traceback
                        await self._record_connect_failure(error)
                        answered = False
                    failures = 0 if answered else failures + 1
                    # Jitter, not a secret.
                    pause = pause_after(failures) * random.uniform(0.5, 1)  # noqa: S311
                    await asyncio.sleep(pause if failures else self.settings.registrar_poll_seconds)
        finally:
            await broker.close()

    async def _poll(self, connect: ConnectClient, broker: Broker, repairs: asyncio.TaskGroup) -> bool:
        """One look; False if Connect or the broker did not answer."""
        # aiokafka lets cancellations of its own tasks out, which are errors as any others here.
        states, broker_state = await asyncio.gather(self._ask(connect), broker.poll(), return_exceptions=True)
        if isinstance(broker_state, BaseException):
            await self._record_broker_failure(broker_state)
        else:
            self._record_broker(broker_state)
        if isinstance(states, BaseException):
            await self._record_connect_failure(states)
        else:
            self._record_connectors(states, broker_state)
        if isinstance(states, BaseException) or isinstance(broker_state, BaseException):
            self.metrics.failed_looks.inc()
            for watch in self._watches.values():
                watch.interrupt()
            return False
        for connector in self.connectors:
            if connector.name not in self._repairing:
                self._decide(connect, connector, repairs)
        return True

    async def _ask(self, connect: ConnectClient) -> dict[str, Observation]:
        """The state of each connector, without heartbeats."""
        known = await connect.connectors()
        return {each.name: observation(known.get(each.name), each.config) for each in self.connectors}

    def _record_broker(self, state: BrokerState) -> None:
        self._reported.pop("broker", None)
        self.topics_problem = self._topics.readiness_problem()
        self.metrics.set_topics(self._topics.problems)
        if state.created:
            log.warning("topics created", topics=list(state.created), notable=True)
            # What has failed for want of them need not wait for a long pause to pass.
            for watch in self._watches.values():
                watch.backoff.reset()

    async def _record_broker_failure(self, error: BaseException) -> None:
        self.topics_problem = await self._report("broker", error)
        self.metrics.set_topics_unknown()

    def _record_connectors(self, states: Mapping[str, Observation], broker_state: BrokerState | BaseException) -> None:
        self._reported.pop("Kafka Connect", None)
        for connector in self.connectors:
            topic = connector.heartbeat_topic
            if isinstance(broker_state, BaseException):
                age, unknown = None, self.topics_problem
            else:
                age, unknown = broker_state.ages.get(topic), broker_state.unread.get(topic)
            seen = replace(states[connector.name], heartbeat_age=age, heartbeats_unknown=unknown)
            self._record(connector, seen)

    async def _record_connect_failure(self, error: BaseException) -> None:
        reason = await self._report("Kafka Connect", error)
        self.seen.clear()
        self.problems = dict.fromkeys(self.problems, f"unknown ({reason})")
        self.metrics.set_connectors_unknown()

    async def _report(self, what: str, error: BaseException) -> str:
        """Why it does not answer, in a line. Logged when it changes."""
        reason = redact(await self._reason(error))
        if self._reported.get(what) != reason:
            unforeseen = None if isinstance(error, _FORESEEN) else error
            log.warning("status check failed", of=what, reason=reason, exc_info=unforeseen)
        self._reported[what] = reason
        return reason

    async def _reason(self, error: BaseException) -> str:
        match error:
            case KafkaError() | asyncio.CancelledError():
                return await self._kafka.explain(error)
            case httpx.HTTPStatusError():
                answer = error.response
                return f"Kafka Connect answers {answer.status_code} {answer.reason_phrase}"
            case httpx.TimeoutException():
                return f"Kafka Connect does not answer within {_CONNECT_TIMEOUT_SECONDS:g} s"
            case httpx.TransportError():
                return f"Kafka Connect does not answer: {error}"
        return f"{type(error).__name__}: {error}"

    def _record(self, connector: Connector, seen: Observation) -> None:
        name = connector.name
        problem = self._watches[name].problem(seen, connector.config)
        if problem is None:
            self._refusals.pop(name, None)
        else:
            # Until the next repair, which may be a minute off: why it is not there says more than that it is not.
            problem = self._refusals.get(name, problem)
        if problem != self.problems[name] and (problem is None or self.problems[name] is None):
            log.info("connector state", connector=name, problem=problem or "none: it works", notable=True)
        self.problems[name] = problem
        self.seen[name] = seen
        self.metrics.set_connector(name, seen, healthy=problem is None)

    def _decide(self, connect: ConnectClient, connector: Connector, repairs: asyncio.TaskGroup) -> None:
        action = self._watches[connector.name].decide(self.seen[connector.name], connector.config, time.monotonic())
        if action is not Action.NONE:
            # Beside the looks: Connect may try for half a minute to reach a database that is away.
            self._repairing.add(connector.name)
            repair = repairs.create_task(self._repair(connect, connector, action), name=f"repair {connector.name}")
            # However it ends, and if it was cancelled before it began.
            repair.add_done_callback(lambda _: self._repairing.discard(connector.name))

    async def _repair(self, connect: ConnectClient, connector: Connector, action: Action) -> None:
        name = connector.name
        log.warning("repairing connector", connector=name, action=action, why=self.problems[name])
        self.metrics.repairs.labels(name, action).inc()
        self.repairs[name] += 1
        try:
            if action is Action.PUT:
                await connect.put(name, connector.config)
            elif action is Action.RESET:
                await connect.reset(name, connector.config)
                hint = "sync-service reconcile --repair finds rows that were deleted meanwhile"
                log.warning("connector takes a new snapshot", connector=name, hint=hint, notable=True)
            else:
                await connect.restart(name, connector.config)
        except ConnectorRefused as refused:
            refusal = f"Connect refuses it: {refused}"
            if self._refusals.get(name) != refusal:
                log.warning("connector refused", connector=name, reason=refusal)
            self._refusals[name] = self.problems[name] = refusal
        # Of this connector alone: the others are watched on.
        except Exception as error:
            reason = redact(f"{type(error).__name__}: {error}", connector.config)
            unforeseen = None if isinstance(error, _FORESEEN) else error
            log.warning("repair failed", connector=name, action=action, reason=reason, exc_info=unforeseen)
        else:
            self._refusals.pop(name, None)


def pause_after(failures: int) -> float:
    """In seconds. Of hours without Kafka Connect the count is more than a float takes as an exponent."""
    return min(0.5 * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)


def observation(known: Mapping[str, object] | None, wanted: Mapping[str, str]) -> Observation:
    """Read one entry of `GET /connectors?expand=info&expand=status`. No failure has secrets of either configuration."""
    if known is None:
        return Observation(config=None)
    match known:
        case {
            "info": {"config": dict(config)},
            "status": {"connector": {"state": str(state)} as connector, "tasks": list(tasks)},
        }:
            task_states = tuple(str(task["state"]) for task in tasks)
            return Observation(config, state, task_states, failure=_failure([connector, *tasks], config, wanted))
    # Not the answer itself, which has the configuration in it, and so the passwords.
    raise ValueError(f"Connect's answer is not understood; it has {', '.join(sorted(known.keys())) or 'nothing'}")


def _failure(parts: Sequence[Mapping[str, object]], *configs: Mapping[str, str]) -> str | None:
    """What the first part that failed has failed of: the first line of its trace, which often says no more than that
    it failed, and the last cause.
    """
    for part in parts:
        if isinstance(trace := part.get("trace"), str) and trace.strip():
            first, *others = trace.strip().splitlines()
            causes = [line.removeprefix("Caused by: ") for line in others if line.startswith("Caused by: ")]
            return redact("; cause: ".join([first, *causes[-1:]]), *configs)
    return None
