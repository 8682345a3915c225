"""The state of a connector and the repair that follows from it. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from registrar.redaction import redact
from service_kit.retry import Backoff

# The states of Kafka Connect that only an operator requests, as verbs for messages.
_HALTED = {"PAUSED": "paused", "STOPPED": "stopped"}

# Debezium's error when its topic of schema changes is empty although the connector has offsets. Without these changes
# it can't read the log from there, so a restart does not help.
_LOST_HISTORY = "db history topic"

# Debezium's error for an offset without a place in the log: it was written by a connector that was stopped at the
# beginning of its snapshot. (Seen with Debezium 3.6.1.) A restart does not help.
_NO_PLACE = "Source offset 'file' parameter is missing"

# Kafka's error for a record that producer or topic refuses for its size. The record comes again after a restart.
_TOO_LARGE = "RecordTooLargeException"

# Debezium's error for an event that was written with another `binlog_row_image` than FULL. A restart does not help.
_LACKS_COLUMNS = "internal schema size"

_LARGER_RECORDS = "set KAFKA_MAX_RECORD_BYTES of registrar and sync to more, and restart them"

# Marks the configuration of a connector during a reset. Connectors ignore options that they don't know.
RESETTING = {"tandem.resetting": "true"}

REPAIR_BACKOFF = Backoff(initial=5.0, maximum=60.0, jitter=0.0)


class Action(StrEnum):
    """A repair of a connector."""

    NONE = "none"
    PUT = "put"
    RESTART = "restart"
    RESET = "reset"  # delete its offsets, so that it takes a new snapshot


@dataclass(frozen=True)
class ConnectorState:
    """A connector at one moment.

    `config` is Kafka Connect's, None if Connect does not have the connector. `state` and `task_states` are Connect's
    words. `heartbeat_age` is in seconds, None without a heartbeat. `event_age` is in seconds since the connector was
    seen to write to one of its topics, None if it was not. `heartbeats_unknown` is the reason why heartbeats can't be
    read. `failure` is the error of the connector or of a task, in one line without secrets. Only of a connector that is
    silent it is known whether it `takes_snapshot`, and the `cause` of its silence, if its source tells. A connector of
    one's own may not be declared to send heartbeats; it is judged by Connect's words alone.
    """

    config: Mapping[str, str] | None
    state: str | None = None
    task_states: tuple[str, ...] = ()
    heartbeat_age: float | None = None
    failure: str | None = None
    heartbeats_unknown: str | None = None
    event_age: float | None = None
    takes_snapshot: bool = False
    cause: str | None = None
    sends_heartbeats: bool = True

    @property
    def activity_age(self) -> float | None:
        """Of the newest heartbeat or event. A connector that takes a snapshot, or is behind, sends no heartbeats."""
        return min((age for age in (self.heartbeat_age, self.event_age) if age is not None), default=None)

    @property
    def has_never_sent_heartbeats(self) -> bool:
        return self.sends_heartbeats and self.heartbeat_age is None and self.heartbeats_unknown is None

    @property
    def running(self) -> bool:
        states = (self.state, *self.task_states)
        return bool(self.task_states) and all(state == "RUNNING" for state in states)

    @property
    def halted(self) -> bool:
        """Paused or stopped. Unless it is `resetting`, an operator did that, and only an operator resumes it."""
        return self.state in _HALTED

    @property
    def resetting(self) -> bool:
        """Stopped by a registrar that has not resumed it yet."""
        return self.halted and self.config is not None and self.config.items() >= RESETTING.items()

    @property
    def failed(self) -> bool:
        return not self.halted and "FAILED" in (self.state, *self.task_states)

    @property
    def needs_snapshot(self) -> bool:
        """Can the connector not continue where its offsets say?"""
        return self._failed_with(_LOST_HISTORY) or self._failed_with(_NO_PLACE)

    @property
    def has_too_large_record(self) -> bool:
        return self._failed_with(_TOO_LARGE)

    @property
    def lacks_columns(self) -> bool:
        return self._failed_with(_LACKS_COLUMNS)

    def _failed_with(self, error: str) -> bool:
        return self.failed and error in (self.failure or "")

    @property
    def expects_heartbeats(self) -> bool:
        """A connector that is RUNNING without a task is as broken as one without heartbeats."""
        return (self.running and self.sends_heartbeats) or (self.state == "RUNNING" and not self.task_states)


def parse_state(entry: Mapping[str, object] | None, declared: Mapping[str, str]) -> ConnectorState:
    """Parse a connector's entry of `GET /connectors?expand=info&expand=status`, None if there is none.

    `failure` contains no secrets of either configuration. Raises `ValueError`.
    """
    if entry is None:
        return ConnectorState(config=None)
    match entry:
        case {
            "info": {"config": dict(config)},
            "status": {"connector": {"state": str(state)} as connector, "tasks": list(tasks)},
        }:
            task_states = tuple(str(task["state"]) for task in tasks)
            failure = _failure([connector, *tasks], config, declared)
            return ConnectorState(
                config, state, task_states, failure=failure, sends_heartbeats=sends_heartbeats(declared)
            )
    # Without the entry itself, because its configuration contains passwords.
    raise ValueError(f"Connect's answer is not understood; it has {', '.join(sorted(entry.keys())) or 'nothing'}")


def _failure(parts: Sequence[Mapping[str, object]], *configs: Mapping[str, str]) -> str | None:
    """The error of the first part that has one: the first line of its trace and the last cause.

    The first line alone often says only that a task failed.
    """
    for part in parts:
        if isinstance(trace := part.get("trace"), str) and trace.strip():
            first, *others = trace.strip().splitlines()
            causes = [line.removeprefix("Caused by: ") for line in others if line.startswith("Caused by: ")]
            return redact("; cause: ".join([first, *causes[-1:]]), *configs)
    return None


def takes_snapshot(offsets: Sequence[Mapping[str, Any]]) -> bool:
    """Has a connector not committed the end of its snapshot yet? True also before its first event.

    The offsets of Debezium's connector of MySQL have `snapshot`, those of MongoDB `initsync`.
    """
    marks = (offset.get(name) for offset in offsets for name in ("snapshot", "initsync"))
    return not offsets or any(mark not in {None, False, "false"} for mark in marks)


def takes_incremental_snapshot(offsets: Sequence[Mapping[str, Any]]) -> bool:
    """Do the offsets say what is left of a snapshot that was requested?"""
    return any("incremental_snapshot_collections" in offset for offset in offsets)


@dataclass
class AttemptSchedule:
    """Decides when the next of several attempts is due. Times are seconds on the caller's clock."""

    backoff: Backoff = REPAIR_BACKOFF
    _attempts: int = field(default=0, init=False)
    _not_before: float = field(default=float("-inf"), init=False)

    def is_due(self, now: float) -> bool:
        return now >= self._not_before

    def attempt(self, now: float) -> None:
        """Record an attempt."""
        self._attempts += 1
        self._not_before = now + self.backoff.delay(self._attempts)

    def succeed(self) -> None:
        """The next failure starts with the shortest delay. The delay of the last attempt still applies."""
        self._attempts = 0

    def reset(self) -> None:
        """The cause of the failures is gone: the next attempt is due now."""
        self._attempts = 0
        self._not_before = float("-inf")


@dataclass
class ConnectorMonitor:
    """Decides on the repairs of one connector. The delay after a repair grows until a repair helps.

    Times are seconds on a monotonic clock, which the caller reads. A connector is silent only after `heartbeat_limit`
    seconds in which it was RUNNING and the registrar, Connect and the broker could all have delivered a heartbeat. An
    outage of one of them is no fault of the connector. While it takes a snapshot, `snapshot_limit` applies.
    """

    name: str
    heartbeat_limit: float
    snapshot_limit: float = 600.0
    schedule: AttemptSchedule = field(default_factory=AttemptSchedule)
    # A restart helps against a record that is too large only if the limits have changed.
    _limits_may_have_changed: bool = field(default=True, init=False)
    _expected_for: float = field(default=0.0, init=False)
    _last_poll: float | None = field(default=None, init=False)

    def decide(self, current: ConnectorState, declared: Mapping[str, str], now: float) -> Action:
        """The repair that is due now. The caller carries it out; it counts as an attempt."""
        self._count(current, now)
        needed = self._needed(current, declared)
        if needed is Action.NONE:
            if self.problem(current, declared) is None:
                self.schedule.succeed()
            return needed
        if not self.schedule.is_due(now):
            return Action.NONE
        self.schedule.attempt(now)
        self._expected_for = 0.0
        if current.has_too_large_record:
            self._limits_may_have_changed = False
        return needed

    def note_changed_topics(self) -> None:
        """What made a connector fail may be gone: a topic was missing, or did not accept its records."""
        self._limits_may_have_changed = True
        self.schedule.reset()

    def interrupt(self) -> None:
        """Connect or the broker does not answer, so no heartbeat can be expected."""
        self._expected_for = 0.0
        self._last_poll = None

    def problem(self, current: ConnectorState, declared: Mapping[str, str]) -> str | None:
        """Why the connector is not healthy, or None."""
        if current.config is None:
            return "not registered"
        if current.resetting:
            return f"connector {current.state}: the registrar deletes its offsets and resumes it"
        if not same_settings(current.config, declared):
            return "registered with another configuration"
        if current.halted:
            state = str(current.state)
            resume = f"PUT /connectors/{self.name}/resume"
            return f"connector {state}: an operator {_HALTED[state]} it; to resume it, send Kafka Connect {resume}"
        if not current.running:
            return _state_problem(current)
        return self._heartbeat_problem(current)

    def _heartbeat_problem(self, current: ConnectorState) -> str | None:
        if not current.sends_heartbeats:
            return None
        if current.heartbeats_unknown is not None:
            return f"its heartbeats can't be read: {current.heartbeats_unknown}"
        if current.activity_age is None:
            return "no heartbeat yet"
        if current.activity_age > self.heartbeat_limit:
            what = "takes a snapshot, last event" if current.takes_snapshot else "last heartbeat"
            cause = f": {current.cause}" if current.cause else ""
            return f"{what} {current.activity_age:.0f} s ago{cause}"
        return None

    def _needed(self, current: ConnectorState, declared: Mapping[str, str]) -> Action:
        if current.resetting:
            return Action.RESET
        if current.config is None or not same_settings(current.config, declared):
            return Action.PUT
        if current.needs_snapshot:
            return Action.RESET
        if current.has_too_large_record and not self._limits_may_have_changed:
            return Action.NONE
        limit = self.snapshot_limit if current.takes_snapshot else self.heartbeat_limit
        if current.failed or self._is_silent(current, limit):
            return Action.RESTART
        return Action.NONE

    def _count(self, current: ConnectorState, now: float) -> None:
        """Count the time in which a heartbeat could have been received.

        After a long pause between two polls the state in between is unknown, so little of that time counts.
        """
        since_last_poll = 0.0 if self._last_poll is None else now - self._last_poll
        self._last_poll = now
        if current.expects_heartbeats and current.heartbeats_unknown is None:
            self._expected_for += min(since_last_poll, self.heartbeat_limit / 3)
        else:
            self._expected_for = 0.0

    def is_silent(self, current: ConnectorState) -> bool:
        """Is there a reason to find out why?"""
        return self._is_silent(current, self.heartbeat_limit)

    def _is_silent(self, current: ConnectorState, limit: float) -> bool:
        """Health is judged by heartbeats and events: Connect reports RUNNING also for tasks that no longer work."""
        expected_for = self._expected_for
        age = expected_for if current.activity_age is None else min(current.activity_age, expected_for)
        return current.expects_heartbeats and age > limit


def _state_problem(current: ConnectorState) -> str:
    if current.has_too_large_record:
        return f"a change event is too large; {_LARGER_RECORDS}: {current.failure}"
    if current.lacks_columns:
        return (
            "an event lacks columns, because a session has changed rows with another binlog_row_image than FULL; end "
            f"it, and take a new snapshot (docs/operations.md): {current.failure}"
        )
    failure = f": {current.failure}" if current.failed and current.failure else ""
    return f"connector {current.state}, tasks {', '.join(current.task_states) or 'none'}{failure}"


def sends_heartbeats(config: Mapping[str, str]) -> bool:
    """Debezium's default is not to."""
    return config.get("heartbeat.interval.ms", "0").strip() != "0"


def same_settings(actual: Mapping[str, str], declared: Mapping[str, str]) -> bool:
    """Connect adds the connector's name to its configuration, and a file of one's own may have it, too."""
    return _without_name(actual) == _without_name(declared)


def _without_name(config: Mapping[str, str]) -> Mapping[str, str]:
    return {key: value for key, value in config.items() if key != "name"}
