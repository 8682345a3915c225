"""What the registrar sees of a connector at one moment, and what follows from it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

# Kafka Connect's words for what only an operator asks for.
_HALTED = {"PAUSED": "paused", "STOPPED": "stopped"}

# Of Debezium when its topic of schema changes is empty although the connector has read on: without them it can't
# read the log from there, and no restart helps.
_HISTORY_IS_LOST = "db history topic"


# In the configuration of a connector while it is reset; connectors ignore options that they don't know.
RESETTING = {"tandem.resetting": "true"}


class Action(StrEnum):
    """What to do about a connector."""

    NONE = "none"
    PUT = "put"
    RESTART = "restart"
    RESET = "reset"  # have it forget how far it has read, so that it takes a new snapshot


@dataclass(frozen=True)
class Observation:
    """`config` is what Connect has, None if Connect does not know the connector; `state` and `task_states` are
    Connect's words. `heartbeat_age` is in seconds, None if there has been no heartbeat; `heartbeats_unknown` is why
    heartbeats can't be read at the moment. `failure` is what connector or task failed of, in a line.
    """

    config: Mapping[str, str] | None
    state: str | None = None
    task_states: tuple[str, ...] = ()
    heartbeat_age: float | None = None
    failure: str | None = None
    heartbeats_unknown: str | None = None

    @property
    def running(self) -> bool:
        states = (self.state, *self.task_states)
        return bool(self.task_states) and all(state == "RUNNING" for state in states)

    @property
    def halted(self) -> bool:
        """By an operator, who alone may resume it, unless it is `resetting`."""
        return self.state in _HALTED

    @property
    def resetting(self) -> bool:
        """Stopped by a registrar that has not resumed it yet."""
        return self.halted and self.config is not None and self.config.items() >= RESETTING.items()

    @property
    def failed(self) -> bool:
        return not self.halted and "FAILED" in (self.state, *self.task_states)

    @property
    def has_lost_its_history(self) -> bool:
        return self.failed and _HISTORY_IS_LOST in (self.failure or "")

    @property
    def must_have_heartbeats(self) -> bool:
        """RUNNING without a task is no better than RUNNING without heartbeats."""
        return self.running or (self.state == "RUNNING" and not self.task_states)


@dataclass
class Backoff:
    """Pauses between attempts, in seconds, which double from `first` to `longest`."""

    first: float = 5.0
    longest: float = 60.0
    _attempts: int = field(default=0, init=False)
    _not_before: float = field(default=float("-inf"), init=False)

    def is_due(self, now: float) -> bool:
        return now >= self._not_before

    def attempt(self, now: float) -> None:
        """An attempt is made now."""
        self._not_before = now + min(self.first * 2.0 ** min(self._attempts, 30), self.longest)
        self._attempts += 1

    def succeed(self) -> None:
        """What fails next time is tried again soon."""
        self._attempts = 0

    def reset(self) -> None:
        """The cause of the failures is gone: the next attempt is due now."""
        self._attempts = 0
        self._not_before = float("-inf")


@dataclass
class Watch:
    """One connector over time: decides, and waits longer after each repair that did not help.

    Times are seconds on a monotonic clock, which the caller reads. A connector is silent only after `heartbeat_limit`
    seconds in which it was RUNNING and the registrar, Connect and the broker could all have passed a heartbeat on: an
    outage of one of them, or of this process, is no fault of the connector.
    """

    name: str
    heartbeat_limit: float
    backoff: Backoff = field(default_factory=Backoff)
    _expected_for: float = field(default=0.0, init=False)
    _last_poll: float | None = field(default=None, init=False)

    def decide(self, seen: Observation, wanted: Mapping[str, str], now: float) -> Action:
        """What to do now. The caller does it; that it did is taken for granted."""
        self._count(seen, now)
        needed = self._needed(seen, wanted)
        if needed is Action.NONE:
            if self.problem(seen, wanted) is None:
                self.backoff.succeed()
            return needed
        if not self.backoff.is_due(now):
            return Action.NONE
        self.backoff.attempt(now)
        self._expected_for = 0.0
        return needed

    def interrupt(self) -> None:
        """Connect or the broker does not answer, so that no heartbeat can be expected."""
        self._expected_for = 0.0
        self._last_poll = None

    def problem(self, seen: Observation, wanted: Mapping[str, str]) -> str | None:
        """Why it can't be relied on at the moment, or None."""
        if seen.config is None:
            return "not registered"
        if seen.resetting:
            return f"connector {seen.state}: the registrar deletes its offsets and resumes it"
        if not _same(seen.config, wanted):
            return "registered with another configuration"
        if seen.halted:
            state = str(seen.state)
            resume = f"PUT /connectors/{self.name}/resume"
            return f"connector {state}: an operator {_HALTED[state]} it; to resume it, send Kafka Connect {resume}"
        if not seen.running:
            failure = f": {seen.failure}" if seen.failed and seen.failure else ""
            return f"connector {seen.state}, tasks {', '.join(seen.task_states) or 'none'}{failure}"
        return self._heartbeat_problem(seen)

    def _heartbeat_problem(self, seen: Observation) -> str | None:
        if seen.heartbeats_unknown is not None:
            return f"its heartbeats can't be read: {seen.heartbeats_unknown}"
        if seen.heartbeat_age is None:
            return "no heartbeat yet"
        if seen.heartbeat_age > self.heartbeat_limit:
            return f"last heartbeat {seen.heartbeat_age:.0f} s ago"
        return None

    def _needed(self, seen: Observation, wanted: Mapping[str, str]) -> Action:
        if seen.resetting:
            return Action.RESET
        if seen.config is None or not _same(seen.config, wanted):
            return Action.PUT
        if seen.has_lost_its_history:
            return Action.RESET
        if seen.failed or self._is_silent(seen):
            return Action.RESTART
        return Action.NONE

    def _count(self, seen: Observation, now: float) -> None:
        """Count the time in which a heartbeat could have been received.

        After a long pause between two polls it is not known what happened meanwhile, so that little of it counts.
        """
        since_last_poll = 0.0 if self._last_poll is None else now - self._last_poll
        self._last_poll = now
        if seen.must_have_heartbeats and seen.heartbeats_unknown is None:
            self._expected_for += min(since_last_poll, self.heartbeat_limit / 3)
        else:
            self._expected_for = 0.0

    def _is_silent(self, seen: Observation) -> bool:
        """RUNNING is no proof of life: Connect says so of tasks through which nothing flows any more."""
        age = self._expected_for if seen.heartbeat_age is None else min(seen.heartbeat_age, self._expected_for)
        return seen.must_have_heartbeats and age > self.heartbeat_limit


def _same(actual: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Connect adds the connector's name to its configuration."""
    return {key: value for key, value in actual.items() if key != "name"} == dict(wanted)
