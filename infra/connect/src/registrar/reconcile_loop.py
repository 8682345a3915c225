"""The loop that keeps topics and connectors as declared."""

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace

import httpx
import structlog
from aiokafka.errors import KafkaError

from registrar.broker import Broker, BrokerState
from registrar.captured import added, captured, takes_signals
from registrar.connect_client import ConnectClient, ConnectorRefused
from registrar.connectors import Connector, registered_connector
from registrar.declared import DeclarationError, DeclaredFile
from registrar.managed import NOT_CHECKED, ManagedConnector
from registrar.metrics import RegistrarMetrics
from registrar.problems import RowsNotRequestable, TopicNotCaptured
from registrar.redaction import redact
from registrar.settings import Settings
from registrar.snapshots import RequestedRows, SnapshotLog, topics_of, unknown_tables
from registrar.sources import (
    CAUSE_SECONDS,
    CHECK_SECONDS,
    PROBLEM_SECONDS,
    RIGHTS_SECONDS,
    Unreachable,
    missing_rights,
    present_tables,
    source_problem,
    stream_problem,
)
from registrar.state import (
    Action,
    ConnectorMonitor,
    ConnectorState,
    parse_state,
    same_settings,
    sends_heartbeats,
    takes_incremental_snapshot,
    takes_snapshot,
)
from registrar.topics import TopicDeclaration, TopicReconciler
from service_kit.error_texts import error_reason
from service_kit.http_client import internal_client
from service_kit.kafka import KafkaClients
from service_kit.retry import Backoff

log = structlog.get_logger(__name__)

POLL_BACKOFF = Backoff(initial=1.0, maximum=5.0)
_CONNECT_TIMEOUT_SECONDS = 10.0
_SNAPSHOT_SECONDS = 1.0
# Debezium reads the definitions of all tables, and no rows, and continues where it was in the log.
_RECOVERY = {"snapshot.mode": "recovery"}


class CannotRequestRows(Exception):  # noqa: N818 - a state of the broker
    """A connector would capture tables, and their rows could not be requested. The message is the reason."""


# Expected errors of the broker, of Connect and of databases. Every other one is logged with its traceback.
_EXPECTED = (
    httpx.HTTPError,
    KafkaError,
    TimeoutError,
    ValueError,
    asyncio.CancelledError,
    Unreachable,
    CannotRequestRows,
)


@dataclass(frozen=True)
class _ConnectState:
    """The answer of Kafka Connect at the time `began` of the monotonic clock.

    `states` are those of the managed connectors, without heartbeats; `undeclared` are generated connectors that are
    not declared any more.
    """

    began: float
    states: Sequence[tuple[ManagedConnector, ConnectorState]]
    undeclared: Sequence[Connector]


@dataclass(frozen=True)
class Snapshot:
    """The rows that were requested, and the connector that copies them."""

    managed: ManagedConnector
    rows: RequestedRows


@dataclass
class Registrar:
    """Polls Kafka Connect and the broker until it is cancelled, and repairs topics and connectors.

    `managed` are the declared connectors by their names, with the results of the last poll. `topics_problem` is one of
    the topics or the broker, at the last poll. `routes_problem` is the error of a changed `routes.yaml`, which is not
    in force then.
    """

    settings: Settings
    connectors: InitVar[Sequence[Connector]]
    topics: InitVar[Mapping[str, TopicDeclaration]]
    metrics: RegistrarMetrics
    routes: DeclaredFile | None = None
    managed: dict[str, ManagedConnector] = field(default_factory=dict, init=False)
    topics_problem: str | None = field(default=NOT_CHECKED, init=False)
    routes_problem: str | None = field(default=None, init=False)

    def __post_init__(self, connectors: Sequence[Connector], topics: Mapping[str, TopicDeclaration]) -> None:
        self._kafka = KafkaClients.of(self.settings)
        self._topics = TopicReconciler(self._kafka, {}, self.settings.registrar_replication_factor)
        self._changes_seen = 0
        # Connectors that are being repaired or deleted, by their names: those of one name must not overlap.
        self._repairing: set[str] = set()
        self._reported: dict[str, str] = {}
        self.declare(connectors, topics)

    def declare(self, connectors: Sequence[Connector], topics: Mapping[str, TopicDeclaration]) -> None:
        """Keep these topics and connectors from now on.

        Generated connectors that are not declared any more are deleted, all others stay as they are.
        """
        self._topics.declare(topics, [each.heartbeat_topic for each in connectors if sends_heartbeats(each.config)])
        self.metrics.declare([connector.name for connector in connectors], topics)
        self.managed = {each.name: self._declared(each) for each in connectors}

    def _declared(self, connector: Connector) -> ManagedConnector:
        managed = self.managed.get(connector.name)
        if managed is None:
            monitor = ConnectorMonitor(
                connector.name,
                heartbeat_limit=self.settings.registrar_heartbeat_limit_seconds,
                snapshot_limit=self.settings.registrar_snapshot_limit_seconds,
            )
            managed = ManagedConnector(connector, monitor)
        managed.connector = connector
        managed.snapshots = self._snapshot_log(connector, managed.snapshots)
        return managed

    def _snapshot_log(self, connector: Connector, known: SnapshotLog | None = None) -> SnapshotLog | None:
        if not takes_signals(connector.config):
            return None
        if known is not None and known.topics == topics_of(connector.config):
            return known
        return SnapshotLog(self._kafka, connector.name, connector.config)

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
                repairs.create_task(self._take_snapshots(ConnectClient(http)), name="snapshots")
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
        found, broker_state = await asyncio.gather(self._fetch_states(connect), broker.poll(), return_exceptions=True)
        if isinstance(broker_state, BaseException):
            await self._record_broker_failure(broker_state)
        else:
            self._record_broker(broker_state)
        if isinstance(found, BaseException):
            await self._record_connect_failure(found)
        else:
            await self._record_connectors(connect, found, broker_state)
        if isinstance(found, BaseException) or isinstance(broker_state, BaseException):
            self.metrics.failed_polls.inc()
            for managed in self.managed.values():
                managed.monitor.interrupt()
            return False
        if not self._topics.is_declared:
            # The declarations changed during this poll. The next one creates the topics, before the connectors.
            return True
        for managed in self.managed.values():
            self._decide(connect, managed, repairs)
        for connector in found.undeclared:
            if connector.name not in self.managed and connector.name not in self._repairing:
                self._begin(connector.name, self._delete(connect, connector), repairs)
        return True

    async def _fetch_states(self, connect: ConnectClient) -> _ConnectState:
        began = time.monotonic()
        entries = await connect.connectors()
        states = [
            (managed, parse_state(entries.get(name), managed.connector.config))
            for name, managed in self.managed.items()
        ]
        registrar = self.settings.registrar_name
        others = [registered_connector(name, entry) for name, entry in entries.items() if name not in self.managed]
        return _ConnectState(began, states, [each for each in others if each and each.is_generated_by(registrar)])

    def _record_broker(self, state: BrokerState) -> None:
        self._reported.pop("broker", None)
        self.topics_problem = self._topics.readiness_problem()
        self.metrics.set_topics(self._topics.problems)
        if state.created:
            log.warning("topics created", topics=list(state.created), notable=True)
        if self._changes_seen != self._topics.changes:
            self._changes_seen = self._topics.changes
            # A connector that failed because of its topic is repaired without a delay.
            for managed in self.managed.values():
                managed.monitor.note_changed_topics()

    async def _record_broker_failure(self, error: BaseException) -> None:
        self.topics_problem = await self._report("broker", error)
        self.metrics.set_topics_unknown()

    async def _record_connectors(
        self, connect: ConnectClient, found: _ConnectState, broker_state: BrokerState | BaseException
    ) -> None:
        self._reported.pop("Kafka Connect", None)
        for managed, state in found.states:
            connector, topic = managed.connector, managed.connector.heartbeat_topic
            if isinstance(broker_state, BaseException):
                current = replace(state, heartbeats_unknown=self.topics_problem)
            else:
                current = replace(
                    state,
                    heartbeat_age=broker_state.ages.get(topic),
                    heartbeats_unknown=broker_state.unread.get(topic),
                    event_age=min(
                        (age for topic, age in broker_state.growth.items() if connector.writes(topic)), default=None
                    ),
                )
            if managed.monitor.is_silent(current):
                current = await self._with_cause(connect, managed, current)
            else:
                managed.cause = float("-inf"), None
            self._record(managed, current)
            managed.is_settled = managed.name not in self._repairing and managed.changed_at < found.began

    async def _with_cause(
        self, connect: ConnectClient, managed: ManagedConnector, current: ConnectorState
    ) -> ConnectorState:
        """The state of a silent connector with what its offsets and its source tell about it."""
        now = time.monotonic()
        try:
            offsets = await connect.offsets(managed.name)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            log.warning("offsets unknown", connector=managed.name, reason=redact(repr(error)))
            return current
        if takes_snapshot(offsets):
            return replace(current, takes_snapshot=True)
        found_at, cause = managed.cause
        if now >= found_at + CAUSE_SECONDS:
            cause = await stream_problem(managed.connector, offsets)
            managed.cause = now, cause
        return replace(current, cause=cause)

    async def _check_sources(self) -> None:
        """Check the databases of the connectors for ever, those with a problem more often."""
        all_are_due_at = float("-inf")
        while True:
            all_are_due = time.monotonic() >= all_are_due_at
            if all_are_due:
                all_are_due_at = time.monotonic() + CHECK_SECONDS
            due = [each for each in self.managed.values() if all_are_due or each.source_problem is not None]
            await asyncio.gather(*map(self._check_source, due))
            await asyncio.sleep(min(PROBLEM_SECONDS, CHECK_SECONDS))

    async def _check_source(self, managed: ManagedConnector) -> None:
        name, connector = managed.name, managed.readable_part
        try:
            problem = await source_problem(connector)
        # The checks must not end the polls of the connectors.
        except Exception as error:
            reason = redact(str(error), connector.config)
            unexpected = None if isinstance(error, Unreachable) else error
            log.warning("settings of the database unknown", connector=name, reason=reason, exc_info=unexpected)
            self.metrics.set_source(name, healthy=None)
            return
        if problem != managed.source_problem:
            log.warning("settings of the database", connector=name, problem=problem or "none", notable=True)
        managed.source_problem = problem
        self.metrics.set_source(name, healthy=problem is None)

    async def _follow_routes(self) -> None:
        """Take over a changed `routes.yaml`, for ever. A wrong one changes nothing."""
        while self.routes is not None:
            await asyncio.sleep(self.settings.registrar_poll_seconds)
            try:
                declared = await asyncio.to_thread(self.routes.changed)
            except DeclarationError as error:
                problem = f"the changed routes are wrong, the earlier ones stay: {error}"
                if problem != self.routes_problem:
                    log.warning("routes refused", reason=str(error), notable=True)
                self.routes_problem = problem
                continue
            if declared is not None:
                self.declare(declared.connectors, declared.topics)
                self.routes_problem = None
                log.info("routes changed", connectors=sorted(self.managed), notable=True)

    async def _check_rights(self) -> None:
        """Check for ever what connectors may read that are not registered yet, or are to capture more.

        A snapshot would lack the rest.
        """
        while True:
            await asyncio.gather(*map(self._check_rights_of, self.managed.values()))
            await asyncio.sleep(RIGHTS_SECONDS)

    async def _check_rights_of(self, managed: ManagedConnector) -> None:
        name, connector = managed.name, managed.connector
        unread = [each for each in managed.not_captured if each not in managed.readable]
        missing: Mapping[str, str] = {}
        if unread:
            try:
                missing = await missing_rights(connector, unread)
            # The checks must not end the polls of the connectors. Connect says why it refuses a connector.
            except Exception as error:
                unexpected = None if isinstance(error, Unreachable) else error
                reason = redact(str(error), connector.config)
                log.debug("rights unknown", connector=name, reason=reason, exc_info=unexpected)
            managed.readable.update(each for each in unread if each not in missing)
        if not missing:
            managed.waits_for = None
            return
        rights = "; ".join(dict.fromkeys(missing.values()))
        awaited = f"waits for what it captures to exist and for the right to read it: {rights}"
        if managed.waits_for != awaited:
            log.warning("connector waits", connector=name, reason=awaited, notable=True)
        managed.waits_for = awaited

    async def request_rows(self, topic: str) -> Snapshot:
        """Have all rows of the table with this topic written to it again, unless that is requested already.

        Raises `TopicNotCaptured`, `RowsNotRequestable`, `KafkaError`.
        """
        managed, table, snapshots = self._snapshots_of(topic)
        # If Kafka Connect does not answer, the request waits for it.
        if managed.state is not None and table in managed.not_captured:
            why = managed.waits_for or managed.problem
            raise RowsNotRequestable(
                f"the connector {managed.name} does not capture {table} yet, and copies its rows once it does: {why}"
            )
        await snapshots.refresh()
        if not snapshots.exists:
            raise RowsNotRequestable(f"the topics in which rows are requested are missing: {self.topics_problem}")
        return Snapshot(managed, await snapshots.request_again(table))

    async def requested_rows(self, topic: str, request: str) -> Snapshot | None:
        """None if there is no such request. Raises `TopicNotCaptured`, `RowsNotRequestable`, `KafkaError`."""
        managed, table, snapshots = self._snapshots_of(topic)
        if not snapshots.is_read:
            await snapshots.refresh()
        found = snapshots.find(request, table)
        return None if found is None else Snapshot(managed, found)

    def _snapshots_of(self, topic: str) -> tuple[ManagedConnector, str, SnapshotLog]:
        """Of the connector that captures the table with this topic, by its name."""
        for managed in self.managed.values():
            connector = managed.connector
            table = topic.removeprefix(f"{connector.config['topic.prefix']}.")
            if connector.writes(topic) and table in captured(connector.config):
                if managed.snapshots is None:
                    raise RowsNotRequestable(
                        f"the connector {managed.name} takes no signals: its file needs signal.kafka.topic and "
                        "notification.sink.topic.name (docs/adding-a-route.md)"
                    )
                return managed, table, managed.snapshots
        raise TopicNotCaptured(
            f"no connector of the registrar captures {topic} by its name; does the registrar read the same "
            "SYNC_ROUTES_FILE?"
        )

    async def _take_snapshots(self, connect: ConnectClient) -> None:
        """Copy the rows of added tables, and of others on request, for ever."""
        while True:
            for managed in [*self.managed.values()]:
                try:
                    await self._take_snapshot(connect, managed)
                # The snapshots must not end the polls of the connectors.
                except Exception as error:
                    unexpected = None if isinstance(error, _EXPECTED) else error
                    reason = redact(error_reason(error), managed.connector.config)
                    log.log(
                        logging.WARNING if unexpected else logging.DEBUG,
                        "snapshots unknown",
                        connector=managed.name,
                        reason=reason,
                        exc_info=unexpected,
                    )
            await asyncio.sleep(_SNAPSHOT_SECONDS)

    async def _take_snapshot(self, connect: ConnectClient, managed: ManagedConnector) -> None:
        snapshots, state = managed.snapshots, managed.state
        if snapshots is None or state is None or state.config is None or not state.running or not managed.is_settled:
            return
        is_awaited = snapshots.pending or snapshots.uncommitted or not snapshots.is_read
        if is_awaited and same_settings(state.config, managed.readable_part.config):
            await snapshots.refresh()
            await snapshots.withdraw(captured=captured(state.config))
            ended = frozenset(snapshots.uncommitted)
            if (ended or snapshots.is_silent) and not takes_incremental_snapshot(await connect.offsets(managed.name)):
                snapshots.uncommitted -= ended
                if snapshots.is_silent:
                    await snapshots.signal_again()
            await snapshots.signal()

    async def _record_connect_failure(self, error: BaseException) -> None:
        reason = await self._report("Kafka Connect", error)
        for managed in self.managed.values():
            managed.state, managed.problem = None, f"unknown ({reason})"
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
        return error_reason(error)

    def _record(self, managed: ManagedConnector, current: ConnectorState) -> None:
        managed.state = current
        problem = managed.monitor.problem(current, managed.readable_part.config)
        if problem is None:
            managed.refusal = None
        else:
            # Until the next repair, up to a minute later, the refusal explains more than the missing connector.
            problem = managed.refusal or problem
        if current.config is None:
            problem = managed.waits_for or problem
        if problem != managed.problem and (problem is None or managed.problem is None):
            log.info("connector state changed", connector=managed.name, problem=problem or "none", notable=True)
        managed.problem = problem
        self.metrics.set_connector(managed.name, current, healthy=problem is None)

    def _decide(self, connect: ConnectClient, managed: ManagedConnector, repairs: asyncio.TaskGroup) -> None:
        if managed.name in self._repairing or managed.state is None:
            return
        connector = managed.readable_part
        if managed.is_absent and not managed.readable >= set(captured(connector.config)):
            return
        action = managed.monitor.decide(managed.state, connector.config, time.monotonic())
        if action is not Action.NONE:
            self._begin(managed.name, self._repair(connect, managed, connector, action), repairs)

    def _begin(self, name: str, work: Coroutine[None, None, None], repairs: asyncio.TaskGroup) -> None:
        """In a task of its own: Connect can take half a minute if it does not reach the database."""
        self._repairing.add(name)
        task = repairs.create_task(work, name=f"repair {name}")
        # A callback also runs if the task is cancelled before it starts.
        task.add_done_callback(lambda _: self._repairing.discard(name))

    async def _repair(
        self, connect: ConnectClient, managed: ManagedConnector, connector: Connector, action: Action
    ) -> None:
        name = connector.name
        log.warning("repairing connector", connector=name, action=action, why=managed.problem)
        self.metrics.repairs.labels(name, action).inc()
        managed.repairs += 1
        managed.is_settled = False
        try:
            if action is Action.PUT:
                await self._put(connect, managed, connector)
            elif action is Action.RESET:
                await self._reset(connect, managed, connector)
            else:
                await connect.restart(name, connector.config)
        except ConnectorRefused as refused:
            refusal = f"Connect refuses it: {refused}"
            if managed.refusal != refusal:
                log.warning("connector refused", connector=name, reason=refusal)
            managed.refusal = managed.problem = refusal
        # An error of one repair must not end the polls of the other connectors.
        except Exception as error:
            reason = redact(error_reason(error), connector.config)
            unexpected = None if isinstance(error, _EXPECTED) else error
            log.warning("repair failed", connector=name, action=action, reason=reason, exc_info=unexpected)
        else:
            managed.refusal = None
        finally:
            managed.changed_at = time.monotonic()

    async def _put(self, connect: ConnectClient, managed: ManagedConnector, connector: Connector) -> None:
        """Create or change a connector. Rows of tables that it captures in addition are requested first.

        A connector of MySQL fails at changes of a table whose columns it does not know. So it first reads the
        definitions of tables that are older than its history of DDL.
        """
        config, snapshots = connector.config, managed.snapshots
        registered = None if managed.state is None else managed.state.config
        if snapshots is not None:
            await snapshots.refresh()
        if snapshots is None or not snapshots.exists:
            if registered is not None and (waiting := added(registered, config)):
                raise CannotRequestRows(
                    f"the topics in which the rows of {', '.join(waiting)} are requested are missing"
                )
            await connect.put(connector.name, config)
        elif registered is None:
            await self._create(connect, connector, snapshots)
        else:
            await snapshots.request(added(registered, config))
            config = await self._with_recovery(connector, snapshots)
            if not same_settings(registered, config):
                await connect.put(connector.name, config)

    async def _create(self, connect: ConnectClient, connector: Connector, snapshots: SnapshotLog) -> None:
        """A connector that the registrar has deleted continues at its offsets, and has no rows of added tables."""
        before = snapshots.captured_when_deleted
        if before is None:
            await connect.put(connector.name, connector.config)
            return
        await snapshots.request([table for table in captured(connector.config) if table not in before])
        await connect.put(connector.name, await self._with_recovery(connector, snapshots))
        await snapshots.note_deletion(None)

    async def _with_recovery(self, connector: Connector, snapshots: SnapshotLog) -> Mapping[str, str]:
        """The settings, with those of a recovery as long as rows of tables with unknown columns are requested."""
        wanted = set(captured(connector.config))
        pending = [table for tables in snapshots.pending.values() for table in tables if table in wanted]
        if pending and connector.reads_mysql and await self._unknown_tables(connector, pending):
            return {**connector.config, **_RECOVERY}
        return connector.config

    async def _unknown_tables(self, connector: Connector, tables: Iterable[str]) -> Collection[str]:
        """Without those that do not exist: the log has the statement that creates them."""
        unknown = await unknown_tables(self._kafka, connector.config, tables)
        try:
            return await present_tables(connector, unknown) if unknown else []
        except Unreachable as error:
            log.debug("tables unknown", connector=connector.name, reason=redact(str(error), connector.config))
            return unknown

    async def _reset(self, connect: ConnectClient, managed: ManagedConnector, connector: Connector) -> None:
        await connect.reset(connector.name, connector.config)
        hint = "sync-service reconcile --repair finds rows that were deleted in the meantime"
        log.warning("connector takes a new snapshot", connector=connector.name, hint=hint, notable=True)
        if managed.snapshots is not None:
            await managed.snapshots.refresh()
            # The new snapshot has the rows of all tables.
            await managed.snapshots.withdraw(captured=())

    async def _delete(self, connect: ConnectClient, connector: Connector) -> None:
        """Delete a generated connector whose source is not declared any more. Its topics and offsets stay."""
        name = connector.name
        try:
            if (snapshots := self._snapshot_log(connector)) is not None:
                await snapshots.refresh()
                # If Kafka Connect refuses it, the next poll comes here again.
                if snapshots.exists and snapshots.captured_when_deleted != captured(connector.config):
                    await snapshots.note_deletion(captured(connector.config))
            if name not in self.managed:
                await connect.delete(name, connector.config)
                log.warning("connector deleted", connector=name, why="routes.yaml has no such source", notable=True)
        # An error of one connector must not end the polls of the others.
        except Exception as error:
            reason = redact(error_reason(error), connector.config)
            if self._reported.get(name) != reason:
                unexpected = None if isinstance(error, (*_EXPECTED, ConnectorRefused)) else error
                log.warning("connector not deleted", connector=name, reason=reason, exc_info=unexpected)
            self._reported[name] = reason
        else:
            self._reported.pop(name, None)
