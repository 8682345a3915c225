"""The registrar's own metrics. service_kit has those of HTTP."""

from collections import Counter as Tally
from collections.abc import Collection, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from registrar.state import Action, ConnectorState

# Kafka Connect's words.
_STATES = ("RUNNING", "FAILED", "PAUSED", "STOPPED", "UNASSIGNED", "RESTARTING")
# Our words for a connector that Connect does not have, and for all connectors while Connect does not answer.
_ABSENT, _UNKNOWN = "ABSENT", "UNKNOWN"


class RegistrarMetrics:
    """All series exist from the start: Prometheus sees no increase in a counter whose first sample is 1.

    What is not declared, or no longer, has no series.
    """

    def __init__(self, registry: CollectorRegistry, connectors: Sequence[str], topics: Collection[str] = ()) -> None:
        self._connectors: Sequence[str] = ()
        self._states = {*_STATES, _ABSENT, _UNKNOWN}
        self._healthy = Gauge(
            "registrar_connector_healthy",
            "1 if connector and tasks are RUNNING and the newest heartbeat or event is fresh.",
            ["connector"],
            registry=registry,
        )
        self._state = Gauge(
            "registrar_connector_state",
            "1 for the state of the connector: Kafka Connect's word, ABSENT if Connect does not have it, UNKNOWN "
            "if Connect does not answer. 0 for all others.",
            ["connector", "state"],
            registry=registry,
        )
        self._tasks = Gauge(
            "registrar_connector_tasks",
            "Tasks of the connector by their state, in Kafka Connect's words.",
            ["connector", "state"],
            registry=registry,
        )
        self._heartbeat_age = Gauge(
            "registrar_heartbeat_age_seconds", "Age of the newest heartbeat.", ["connector"], registry=registry
        )
        self._activity_age = Gauge(
            "registrar_activity_age_seconds",
            "Age of the newest heartbeat or event.",
            ["connector"],
            registry=registry,
        )
        self._sources = Gauge(
            "registrar_source_healthy",
            "1 if the connector's database has the settings that the order of changes needs, 0 if not, NaN if unknown.",
            ["connector"],
            registry=registry,
        )
        self.repairs = Counter(
            "registrar_repairs",
            "Connectors put, restarted, or reset to a new snapshot.",
            ["connector", "action"],
            registry=registry,
        )
        self.failed_polls = Counter(
            "registrar_failed_looks",
            "Status checks that failed because Kafka Connect or the broker did not answer.",
            registry=registry,
        )
        self._topics = Gauge(
            "registrar_topic_healthy",
            "1 if the topic has the declared partitions and settings and each partition has a leader, 0 if not, NaN if "
            "the broker does not answer.",
            ["topic"],
            registry=registry,
        )
        self._topic_names: Collection[str] = ()
        self.declare(connectors, topics)

    def declare(self, connectors: Sequence[str], topics: Collection[str]) -> None:
        """Create the series of new connectors and topics, and remove those of others."""
        before, topics_before = self._connectors, self._topic_names
        self._connectors, self._topic_names = connectors, topics
        for name in connectors:
            if name in before:
                continue
            for action in (Action.PUT, Action.RESTART, Action.RESET):
                self.repairs.labels(name, action)
            self.set_source(name, healthy=None)
            self._healthy.labels(name).set(0)
            self._set_states(name, _UNKNOWN, ())
        for name in topics:
            if name not in topics_before:
                self._topics.labels(name).set(float("nan"))
        for name in set(topics_before) - set(topics):
            self._topics.remove(name)
        gone = set(before) - set(connectors)
        for gauge in (self._healthy, self._heartbeat_age, self._activity_age, self._sources, self._state, self._tasks):
            for name in gone:
                gauge.remove_by_labels({"connector": name})

    def set_connector(self, name: str, current: ConnectorState, *, healthy: bool) -> None:
        if name not in self._connectors:
            return
        self._healthy.labels(name).set(healthy)
        self._set_states(name, current.state or _ABSENT, current.task_states)
        if current.heartbeat_age is not None:
            self._heartbeat_age.labels(name).set(current.heartbeat_age)
        if current.activity_age is not None:
            self._activity_age.labels(name).set(current.activity_age)

    def set_connectors_unknown(self) -> None:
        """Report no state of an earlier poll as the current one."""
        for name in self._connectors:
            self._healthy.labels(name).set(0)
            self._set_states(name, _UNKNOWN, ())

    def set_source(self, name: str, *, healthy: bool | None) -> None:
        """None if it is unknown."""
        if name in self._connectors:
            self._sources.labels(name).set(float("nan") if healthy is None else healthy)

    def set_topics(self, problems: Collection[str]) -> None:
        """`problems` are the names of the topics that have one."""
        for name in self._topic_names:
            self._topics.labels(name).set(name not in problems)

    def set_topics_unknown(self) -> None:
        """NaN instead of 0: alerts about every topic would hide the one about the broker."""
        for name in self._topic_names:
            self._topics.labels(name).set(float("nan"))

    def _set_states(self, name: str, state: str, tasks: Sequence[str]) -> None:
        task_counts = Tally(tasks)
        # A later Connect may have other states. A state that was exported once stays exported, as 0.
        self._states |= {state, *tasks}
        for each in self._states:
            self._state.labels(name, each).set(each == state)
            self._tasks.labels(name, each).set(task_counts[each])
