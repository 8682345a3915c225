"""What the registrar sees of a connector at one moment, and what follows from it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """What to do about a connector."""

    NONE = "none"
    PUT = "put"
    RESTART = "restart"


@dataclass(frozen=True)
class Observation:
    """`config` is what Connect has, None if Connect does not know the connector; `state` and `task_states` are
    Connect's words. `heartbeat_age` is in seconds, None if there has been no heartbeat. `failure` is what connector or
    task failed of, in a line.
    """

    config: Mapping[str, str] | None
    state: str | None = None
    task_states: tuple[str, ...] = ()
    heartbeat_age: float | None = None
    failure: str | None = None

    @property
    def running(self) -> bool:
        states = (self.state, *self.task_states)
        return bool(self.task_states) and all(state == "RUNNING" for state in states)

    @property
    def failed(self) -> bool:
        return "FAILED" in (self.state, *self.task_states)


@dataclass
class Watch:
    """One connector over time: decides, and waits longer after each repair that did not help.

    Times are seconds on a monotonic clock, which the caller reads.
    """

    heartbeat_limit: float
    first_delay: float = 5.0
    longest_delay: float = 60.0
    _repairs: int = field(default=0, init=False)
    _not_before: float = field(default=float("-inf"), init=False)
    _alive_since: float | None = field(default=None, init=False)

    def decide(self, seen: Observation, wanted: Mapping[str, str], now: float) -> Action:
        """What to do now. The caller does it; that it did is taken for granted."""
        if self._alive_since is None:
            self._alive_since = now  # the first look: whatever runs has time for its first heartbeat
        needed = self._needed(seen, wanted, now)
        if needed is Action.NONE:
            if self.healthy(seen, wanted):
                self._repairs = 0
            return needed
        if now < self._not_before:
            return Action.NONE
        self._not_before = now + min(self.first_delay * 2 ** min(self._repairs, 30), self.longest_delay)
        self._repairs += 1
        self._alive_since = now
        return needed

    def healthy(self, seen: Observation, wanted: Mapping[str, str]) -> bool:
        return self.problem(seen, wanted) is None

    def problem(self, seen: Observation, wanted: Mapping[str, str]) -> str | None:
        """Why it can't be relied on at the moment, or None."""
        if seen.config is None:
            return "not registered"
        if not _same(seen.config, wanted):
            return "registered with another configuration"
        if not seen.running:
            return f"connector {seen.state}, tasks {', '.join(seen.task_states) or 'none'}"
        if seen.heartbeat_age is None:
            return "no heartbeat yet"
        if seen.heartbeat_age > self.heartbeat_limit:
            return f"last heartbeat {seen.heartbeat_age:.0f} s ago"
        return None

    def _needed(self, seen: Observation, wanted: Mapping[str, str], now: float) -> Action:
        if seen.config is None or not _same(seen.config, wanted):
            return Action.PUT
        if seen.failed:
            return Action.RESTART
        if seen.running and self._silent(seen, now):
            return Action.RESTART
        return Action.NONE

    def _silent(self, seen: Observation, now: float) -> bool:
        """RUNNING is no proof of life: Connect says so of tasks through which nothing flows any more."""
        since_start = now - (self._alive_since or now)
        age = since_start if seen.heartbeat_age is None else min(seen.heartbeat_age, since_start)
        return age > self.heartbeat_limit


def _same(actual: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Connect adds the connector's name to its configuration."""
    return {key: value for key, value in actual.items() if key != "name"} == dict(wanted)
