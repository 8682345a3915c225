"""The registrar's own metrics, all of them; those of HTTP are service_kit's."""

from collections import Counter as Tally
from collections.abc import Collection, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from registrar.observation import Action, Observation

# Kafka Connect's words.
_STATES = ("RUNNING", "FAILED", "PAUSED", "STOPPED", "UNASSIGNED", "RESTARTING")
# What it has no word for: a connector that it does not know, and one that it could not be asked about.
_ABSENT, _UNKNOWN = "ABSENT", "UNKNOWN"


class RegistrarMetrics:
    """By connector and by topic, all from the start: Prometheus sees no increase in a counter that begins at 1."""

    def __init__(self, registry: CollectorRegistry, connectors: Sequence[str], topics: Collection[str] = ()) -> None:
        self._connectors = connectors
        self._states = {*_STATES, _ABSENT, _UNKNOWN}
        self._healthy = Gauge(
            "registrar_connector_healthy",
            "1 if connector and tasks are RUNNING and the heartbeat is fresh.",
            ["connector"],
            registry=registry,
        )
        self._state = Gauge(
            "registrar_connector_state",
            "1 for the state of the connector: Kafka Connect's word, ABSENT if Connect does not know it, UNKNOWN "
            "if it could not be asked. 0 for all others.",
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
        self.repairs = Counter(
            "registrar_repairs",
            "Connectors put, restarted, or reset to a new snapshot.",
            ["connector", "action"],
            registry=registry,
        )
        self.failed_looks = Counter(
            "registrar_failed_looks",
            "Looks at the connectors that failed, because Kafka Connect or the broker did not answer.",
            registry=registry,
        )
        self._topics = Gauge(
            "registrar_topic_healthy",
            "1 if the topic has the declared partitions and settings and each partition has a leader, 0 if not, NaN if "
            "the broker does not answer.",
            ["topic"],
            registry=registry,
        )
        for name in connectors:
            for action in (Action.PUT, Action.RESTART, Action.RESET):
                self.repairs.labels(name, action)
        self._topic_names = topics
        self.set_connectors_unknown()
        self.set_topics_unknown()

    def set_connector(self, name: str, seen: Observation, *, healthy: bool) -> None:
        self._healthy.labels(name).set(healthy)
        self._show(name, seen.state or _ABSENT, seen.task_states)
        if seen.heartbeat_age is not None:
            self._heartbeat_age.labels(name).set(seen.heartbeat_age)

    def set_connectors_unknown(self) -> None:
        """What was seen before is not reported as if it were so still."""
        for name in self._connectors:
            self._healthy.labels(name).set(0)
            self._show(name, _UNKNOWN, ())

    def set_topics(self, problems: Collection[str]) -> None:
        """`problems` are the names of those that have one."""
        for name in self._topic_names:
            self._topics.labels(name).set(name not in problems)

    def set_topics_unknown(self) -> None:
        """Neither good nor bad: an alert about each topic would hide the one about the broker."""
        for name in self._topic_names:
            self._topics.labels(name).set(float("nan"))

    def _show(self, name: str, state: str, tasks: Sequence[str]) -> None:
        of_tasks = Tally(tasks)
        # With whatever a later Connect may say; what it has said once is 0 when it says something else.
        self._states |= {state, *tasks}
        for each in self._states:
            self._state.labels(name, each).set(each == state)
            self._tasks.labels(name, each).set(of_tasks[each])
