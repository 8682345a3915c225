"""The loop that keeps topics and connectors as declared."""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
import structlog
from aiokafka.errors import KafkaError

from registrar.broker import Broker, BrokerState
from registrar.captured import SIGNALS, added, captured, without
from registrar.connect_client import ConnectClient, ConnectorRefused
from registrar.connectors import Connector
from registrar.declared import DeclarationError, DeclaredFile
from registrar.metrics import RegistrarMetrics
from registrar.redaction import redact
from registrar.settings import Settings
from registrar.snapshots import SnapshotLog, unknown_tables
from registrar.sources import (
    CAUSE_SECONDS,
    CHECK_SECONDS,
    RIGHTS_SECONDS,
    Unreachable,
    missing_rights,
    source_problem,
    stream_problem,
)
from registrar.state import Action, ConnectorMonitor, ConnectorState, parse_state, same_settings, takes_snapshot
from registrar.topics import TopicDeclaration, TopicReconciler
from service_kit.http_client import internal_client
from service_kit.kafka import KafkaClients
from service_kit.retry import Backoff

log = structlog.get_logger(__name__)

POLL_BACKOFF = Backoff(initial=1.0, maximum=5.0)
_CONNECT_TIMEOUT_SECONDS = 10.0
# Expected errors of the broker and of Connect. Every other one is logged with its traceback.
_EXPECTED = (httpx.HTTPError, KafkaError, TimeoutError, ValueError, asyncio.CancelledError)
_NOT_CHECKED = "not checked yet"
_SNAPSHOT_SECONDS = 1.0
# Debezium reads the definitions of all tables, and no rows, and continues where it was in the log.
_RECOVERY = {"snapshot.mode": "recovery"}


@dataclass
class Registrar:
    """Polls Kafka Connect and the broker until it is cancelled, and repairs topics and connectors.

    Results of the last poll: `states` of the connectors, empty if Connect did not answer; `problems` of each
    connector; `topics_problem` of the topics and the broker. `routes_problem` is the error of a changed `routes.yaml`,
    which is not in force then. `source_problems` of the connectors' databases are
    those of the last check that reached the database. `waits_for` names what must exist before a connector can be
    registered, or can capture more. `repairs` are counted since the process began.
    """

    settings: Settings
    connectors: Sequence[Connector]
    topics: Mapping[str, TopicDeclaration]
    metrics: RegistrarMetrics
    routes: DeclaredFile | None = None
    problems: dict[str, str | None] = field(init=False)
    source_problems: dict[str, str | None] = field(init=False)
    topics_problem: str | None = field(default=_NOT_CHECKED, init=False)
    routes_problem: str | None = field(default=None, init=False)
    states: dict[str, ConnectorState] = field(default_factory=dict, init=False)
    repairs: Tally[str] = field(default_factory=Tally, init=False)
    waits_for: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.problems, self.source_problems = {}, {}
        self._kafka = KafkaClients.of(self.settings)
        self._topics = TopicReconciler(self._kafka, {}, self.settings.registrar_replication_factor)
        self._refusals: dict[str, str] = {}
        self._monitors: dict[str, ConnectorMonitor] = {}
        self._changes_seen = 0
        # Causes of silence with the times when they were found.
        self._causes: dict[str, tuple[float, str | None]] = {}
        self._repairing: set[str] = set()
        # By connector: what it may read, or what could not be checked.
        self._readable: dict[str, set[str]] = {}
        self._snapshots: dict[str, SnapshotLog] = {}
        self._reported: dict[str, str] = {}
        self.declare(self.connectors, self.topics)

    def declare(self, connectors: Sequence[Connector], topics: Mapping[str, TopicDeclaration]) -> None:
        """Keep these topics and connectors from now on. Connectors that are not declared any more stay as they are."""
        self.connectors, self.topics = connectors, topics
        self._topics.declare(topics, [connector.heartbeat_topic for connector in connectors])
        self.metrics.declare([connector.name for connector in connectors], topics)
        for each in connectors:
            self.problems.setdefault(each.name, _NOT_CHECKED)
            self.source_problems.setdefault(each.name, None)
            self._readable.setdefault(each.name, set())
            if SIGNALS in each.config:
                self._snapshots.setdefault(each.name, SnapshotLog(self._kafka, each.name, each.config))
            monitor = ConnectorMonitor(
                each.name,
                heartbeat_limit=self.settings.registrar_heartbeat_limit_seconds,
                snapshot_limit=self.settings.registrar_snapshot_limit_seconds,
            )
            self._monitors.setdefault(each.name, monitor)
        for name in self.problems.keys() - {connector.name for connector in connectors}:
            del self.problems[name], self.source_problems[name], self._monitors[name], self._readable[name]
            self._snapshots.pop(name, None)
            self.states.pop(name, None)
            self.waits_for.pop(name, None)

    async def run(self) -> None:
        """Poll for ever. After a failed poll the next one follows with backoff."""
        failures = 0
        broker = Broker(self._kafka, self._topics)
        http = internal_client(str(self.settings.connect_url), timeout=_CONNECT_TIMEOUT_SECONDS)
        try:
            async with http, asyncio.TaskGroup() as repairs:
                repairs.create_task(self._check_sources(), name="sources")
                repairs.create_task(self._check_rights(), name="rights")
                repairs.create_task(self._follow_routes(), name="routes")
                repairs.create_task(self._take_snapshots(), name="snapshots")
                while True:
                    try:
                        answered = await self._poll(ConnectClient(http), broker, repairs)
                    # If the loop ended, the results of the last poll would be reported for ever.
                    except Exception as error:  # noqa: BLE001 - the called method logs it with its traceback
                        await self._record_connect_failure(error)
                        answered = False
                    failures = 0 if answered else failures + 1
                    seconds = POLL_BACKOFF.delay(failures) if failures else self.settings.registrar_poll_seconds
                    await asyncio.sleep(seconds)
        finally:
            await broker.close()

    async def _poll(self, connect: ConnectClient, broker: Broker, repairs: asyncio.TaskGroup) -> bool:
        """Check and repair once. False if Connect or the broker did not answer."""
        # aiokafka raises cancellations of its own tasks; here they are errors like all others.
        states, broker_state = await asyncio.gather(self._fetch_states(connect), broker.poll(), return_exceptions=True)
        if isinstance(broker_state, BaseException):
            await self._record_broker_failure(broker_state)
        else:
            self._record_broker(broker_state)
        if isinstance(states, BaseException):
            await self._record_connect_failure(states)
        else:
            await self._record_connectors(connect, states, broker_state)
        if isinstance(states, BaseException) or isinstance(broker_state, BaseException):
            self.metrics.failed_polls.inc()
            for monitor in self._monitors.values():
                monitor.interrupt()
            return False
        for connector in self.connectors:
            if connector.name not in self._repairing:
                self._decide(connect, self._readable_part(connector), repairs)
        return True

    async def _fetch_states(self, connect: ConnectClient) -> dict[str, ConnectorState]:
        """The state of each connector, without heartbeats."""
        entries = await connect.connectors()
        return {each.name: parse_state(entries.get(each.name), each.config) for each in self.connectors}

    def _record_broker(self, state: BrokerState) -> None:
        self._reported.pop("broker", None)
        self.topics_problem = self._topics.readiness_problem()
        self.metrics.set_topics(self._topics.problems)
        if state.created:
            log.warning("topics created", topics=list(state.created), notable=True)
        if self._changes_seen != self._topics.changes:
            self._changes_seen = self._topics.changes
            # A connector that failed because of its topic is repaired without a delay.
            for monitor in self._monitors.values():
                monitor.note_changed_topics()

    async def _record_broker_failure(self, error: BaseException) -> None:
        self.topics_problem = await self._report("broker", error)
        self.metrics.set_topics_unknown()

    async def _record_connectors(
        self, connect: ConnectClient, states: Mapping[str, ConnectorState], broker_state: BrokerState | BaseException
    ) -> None:
        self._reported.pop("Kafka Connect", None)
        for connector in self.connectors:
            name, topic = connector.name, connector.heartbeat_topic
            if isinstance(broker_state, BaseException):
                current = replace(states[name], heartbeats_unknown=self.topics_problem)
            else:
                current = replace(
                    states[name],
                    heartbeat_age=broker_state.ages.get(topic),
                    heartbeats_unknown=broker_state.unread.get(topic),
                    event_age=min(
                        (age for topic, age in broker_state.growth.items() if connector.writes(topic)), default=None
                    ),
                )
            if self._monitors[name].is_silent(current):
                current = await self._with_cause(connect, connector, current)
            else:
                self._causes.pop(name, None)
            self._record(connector, current)

    async def _with_cause(
        self, connect: ConnectClient, connector: Connector, current: ConnectorState
    ) -> ConnectorState:
        """The state of a silent connector with what its offsets and its source tell about it."""
        name, now = connector.name, time.monotonic()
        try:
            offsets = await connect.offsets(name)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            log.warning("offsets unknown", connector=name, reason=redact(repr(error)))
            return current
        if takes_snapshot(offsets):
            return replace(current, takes_snapshot=True)
        found_at, cause = self._causes.get(name, (float("-inf"), None))
        if now >= found_at + CAUSE_SECONDS:
            cause = await stream_problem(connector, offsets)
            self._causes[name] = now, cause
        return replace(current, cause=cause)

    async def _check_sources(self) -> None:
        """Check the databases of the connectors for ever."""
        while True:
            await asyncio.gather(*(self._check_source(connector) for connector in self.connectors))
            await asyncio.sleep(CHECK_SECONDS)

    async def _check_source(self, connector: Connector) -> None:
        name = connector.name
        try:
            problem = await source_problem(self._readable_part(connector))
        # The checks must not end the polls of the connectors.
        except Exception as error:
            reason = redact(str(error), connector.config)
            unexpected = None if isinstance(error, Unreachable) else error
            log.warning("settings of the database unknown", connector=name, reason=reason, exc_info=unexpected)
            self.metrics.set_source_unknown(name)
            return
        if problem != self.source_problems[name]:
            log.warning("settings of the database", connector=name, problem=problem or "none", notable=True)
        self.source_problems[name] = problem
        self.metrics.set_source(name, healthy=problem is None)

    async def _follow_routes(self) -> None:
        """Take over a changed `routes.yaml`, for ever. A wrong one changes nothing."""
        while self.routes is not None:
            await asyncio.sleep(self.settings.registrar_poll_seconds)
            try:
                declared = await asyncio.to_thread(self.routes.changed)
            except DeclarationError as error:
                self.routes_problem = f"the changed routes are wrong, the earlier ones stay: {error}"
                log.warning("routes refused", reason=str(error), notable=True)
                continue
            if declared is not None:
                self.declare(declared.connectors, declared.topics)
                self.routes_problem = None
                log.info("routes changed", connectors=sorted(self.problems), notable=True)

    async def _check_rights(self) -> None:
        """Check for ever what connectors may read that are not registered yet, or are to capture more.

        A snapshot would lack the rest.
        """
        while True:
            await asyncio.gather(*(self._check_rights_of(each) for each in self.connectors))
            await asyncio.sleep(RIGHTS_SECONDS)

    async def _check_rights_of(self, connector: Connector) -> None:
        name = connector.name
        unread = [each for each in self._not_captured(connector) if each not in self._readable[name]]
        missing: Mapping[str, str] = {}
        if unread:
            try:
                missing = await missing_rights(connector, unread)
            # The checks must not end the polls of the connectors. Connect says why it refuses a connector.
            except Exception as error:
                unexpected = None if isinstance(error, Unreachable) else error
                reason = redact(str(error), connector.config)
                log.debug("rights unknown", connector=name, reason=reason, exc_info=unexpected)
            self._readable[name].update(each for each in unread if each not in missing)
        if not missing:
            self.waits_for.pop(name, None)
            return
        rights = "; ".join(dict.fromkeys(missing.values()))
        awaited = f"waits for what it captures to exist and for the right to read it: {rights}"
        if self.waits_for.get(name) != awaited:
            log.warning("connector waits", connector=name, reason=awaited, notable=True)
        self.waits_for[name] = awaited

    def _is_absent(self, connector: Connector) -> bool:
        state = self.states.get(connector.name)
        return state is None or state.config is None

    def _not_captured(self, connector: Connector) -> Sequence[str]:
        """What the connector is to capture, as far as it is not registered with it."""
        state = self.states.get(connector.name)
        if state is None or state.config is None:
            return captured(connector.config)
        return added(state.config, connector.config)

    def _readable_part(self, connector: Connector) -> Connector:
        """The connector without additions that it may not read. Its other routes do not wait for them."""
        if self._is_absent(connector):
            return connector
        unreadable = set(self._not_captured(connector)) - self._readable[connector.name]
        return replace(connector, config=without(connector.config, unreadable)) if unreadable else connector

    async def _take_snapshots(self) -> None:
        """Copy the rows of added tables, for ever."""
        while True:
            for connector in self.connectors:
                try:
                    await self._take_snapshot(self._readable_part(connector))
                # The snapshots must not end the polls of the connectors.
                except Exception as error:
                    unexpected = None if isinstance(error, _EXPECTED) else error
                    reason = redact(f"{type(error).__name__}: {error}", connector.config)
                    log.log(
                        logging.WARNING if unexpected else logging.DEBUG,
                        "snapshots unknown",
                        connector=connector.name,
                        reason=reason,
                        exc_info=unexpected,
                    )
            await asyncio.sleep(_SNAPSHOT_SECONDS)

    async def _take_snapshot(self, connector: Connector) -> None:
        snapshots, state = self._snapshots.get(connector.name), self.states.get(connector.name)
        if snapshots is None or state is None or state.config is None or not state.running:
            return
        if same_settings(state.config, connector.config) and (snapshots.pending or not snapshots.is_read):
            await snapshots.refresh()
            await snapshots.signal()

    async def _record_connect_failure(self, error: BaseException) -> None:
        reason = await self._report("Kafka Connect", error)
        self.states.clear()
        self.problems = dict.fromkeys(self.problems, f"unknown ({reason})")
        self.metrics.set_connectors_unknown()

    async def _report(self, target: str, error: BaseException) -> str:
        """The reason of a failed check of `target`, in one line. It is logged when it changes."""
        reason = redact(await self._reason(error))
        if self._reported.get(target) != reason:
            unexpected = None if isinstance(error, _EXPECTED) else error
            log.warning("status check failed", of=target, reason=reason, exc_info=unexpected)
        self._reported[target] = reason
        return reason

    async def _reason(self, error: BaseException) -> str:
        match error:
            case KafkaError() | asyncio.CancelledError():
                return await self._kafka.explain(error)
            case httpx.HTTPStatusError():
                response = error.response
                return f"Kafka Connect answers {response.status_code} {response.reason_phrase}"
            case httpx.TimeoutException():
                return f"Kafka Connect does not answer within {_CONNECT_TIMEOUT_SECONDS:g} s"
            case httpx.TransportError():
                return f"Kafka Connect does not answer: {error}"
        return f"{type(error).__name__}: {error}"

    def _record(self, connector: Connector, current: ConnectorState) -> None:
        name = connector.name
        self.states[name] = current
        problem = self._monitors[name].problem(current, self._readable_part(connector).config)
        if problem is None:
            self._refusals.pop(name, None)
        else:
            # Until the next repair, up to a minute later, the refusal explains more than the missing connector.
            problem = self._refusals.get(name, problem)
        if current.config is None:
            problem = self.waits_for.get(name, problem)
        if problem != self.problems[name] and (problem is None or self.problems[name] is None):
            log.info("connector state changed", connector=name, problem=problem or "none", notable=True)
        self.problems[name] = problem
        self.metrics.set_connector(name, current, healthy=problem is None)

    def _decide(self, connect: ConnectClient, connector: Connector, repairs: asyncio.TaskGroup) -> None:
        if self._is_absent(connector) and not self._readable[connector.name] >= set(captured(connector.config)):
            return
        action = self._monitors[connector.name].decide(self.states[connector.name], connector.config, time.monotonic())
        if action is not Action.NONE:
            # In a task of its own: Connect can take half a minute if it does not reach the database.
            self._repairing.add(connector.name)
            repair = repairs.create_task(self._repair(connect, connector, action), name=f"repair {connector.name}")
            # A callback also runs if the task is cancelled before it starts.
            repair.add_done_callback(lambda _: self._repairing.discard(connector.name))

    async def _repair(self, connect: ConnectClient, connector: Connector, action: Action) -> None:
        name = connector.name
        log.warning("repairing connector", connector=name, action=action, why=self.problems[name])
        self.metrics.repairs.labels(name, action).inc()
        self.repairs[name] += 1
        try:
            if action is Action.PUT:
                await self._put(connect, connector)
            elif action is Action.RESET:
                await connect.reset(name, connector.config)
                hint = "sync-service reconcile --repair finds rows that were deleted in the meantime"
                log.warning("connector takes a new snapshot", connector=name, hint=hint, notable=True)
            else:
                await connect.restart(name, connector.config)
        except ConnectorRefused as refused:
            refusal = f"Connect refuses it: {refused}"
            if self._refusals.get(name) != refusal:
                log.warning("connector refused", connector=name, reason=refusal)
            self._refusals[name] = self.problems[name] = refusal
        # An error of one repair must not end the polls of the other connectors.
        except Exception as error:
            reason = redact(f"{type(error).__name__}: {error}", connector.config)
            unexpected = None if isinstance(error, _EXPECTED) else error
            log.warning("repair failed", connector=name, action=action, reason=reason, exc_info=unexpected)
        else:
            self._refusals.pop(name, None)

    async def _put(self, connect: ConnectClient, connector: Connector) -> None:
        """Create or change a connector. Rows of tables that it captures in addition are requested first.

        A connector of MySQL fails at changes of a table whose columns it does not know. So it first reads the
        definitions of tables that are older than its history of DDL.
        """
        registered, config = self.states[connector.name].config, connector.config
        snapshots = self._snapshots.get(connector.name)
        if registered is not None and snapshots is not None:
            await snapshots.refresh()
            if new := added(registered, config):
                await snapshots.request(new)
            pending = [table for tables in snapshots.pending.values() for table in tables]
            if pending and connector.reads_mysql and await unknown_tables(self._kafka, config, pending):
                config = {**config, **_RECOVERY}
                if same_settings(registered, config):
                    return
        await connect.put(connector.name, config)
