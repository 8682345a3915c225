"""Limits of dead letters: when so many events fail that the cause is not in single events. Pure.

For each partition there are two limits: consecutive failures, and the share of failures in the latest events. A batch
is decoded first and written afterwards, so consecutive failures are counted for each stage: an event that is decoded
ends the consecutive failures of decoding, even if the store rejects it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sync_service.dead_letters.models import Stage

# The share is computed over this number of latest events, and only if there are at least so many.
WINDOW_EVENTS = 1000
LEAST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """The most consecutive failures, and the largest share of failures (up to 1)."""

    max_consecutive: int
    max_ratio: float


class Failure(NamedTuple):
    """A failed event of a partition."""

    offset: int
    stage: Stage


@dataclass(slots=True)
class _Block:
    events: int
    failures: int


@dataclass(slots=True)
class FailureWindow:
    """Failures among the latest events of a partition."""

    consecutive: dict[Stage, int] = field(default_factory=lambda: {"VALUE_CONVERTER": 0, "TASK_PUT": 0})
    _blocks: deque[_Block] = field(default_factory=lambda: deque([_Block(0, 0)]))
    _events: int = 0
    _failures: int = 0

    @classmethod
    def before(cls, offset: int, failures: Iterable[Failure]) -> "FailureWindow":
        """The window before an offset, from the failures before it in any order."""
        window = cls()
        failed = {failure.offset: failure.stage for failure in failures if failure.offset < offset}
        window.consecutive = _consecutive(offset, failed)
        events = min(offset, WINDOW_EVENTS)
        window._note(events, sum(each >= offset - events for each in failed))
        return window

    def decoded(self, events: int) -> None:
        """Count consecutive events that could be decoded."""
        if events:
            self.consecutive["VALUE_CONVERTER"] = 0
            self._note(events, 0)

    def written(self) -> None:
        self.consecutive["TASK_PUT"] = 0

    def failed(self, stage: Stage) -> None:
        self.consecutive[stage] += 1
        # An event that the store rejects was counted when it was decoded.
        self._note(1 if stage == "VALUE_CONVERTER" else 0, 1)

    @property
    def ratio(self) -> float | None:
        """The share of failures in about the latest `WINDOW_EVENTS` events; None before `LEAST_EVENTS`."""
        return self._failures / self._events if self._events >= LEAST_EVENTS else None

    def violation(self, limits: DeadLetterLimits, stage: Stage) -> str | None:
        """Which limit one more failure at this stage exceeds, in words; None if none."""
        if self.consecutive[stage] >= limits.max_consecutive:
            return f"{self.consecutive[stage]} events in a row could not be applied"
        if self.ratio is not None and self.ratio > limits.max_ratio:
            return f"{self._failures} of the latest {self._events} events could not be applied"
        return None

    def _note(self, events: int, failures: int) -> None:
        block = self._blocks[-1]
        if events and block.events + events > WINDOW_EVENTS // 10:
            block = _Block(0, 0)
            self._blocks.append(block)
        block.events += events
        block.failures += failures
        self._events += events
        self._failures += failures
        while self._events - self._blocks[0].events >= WINDOW_EVENTS:
            oldest = self._blocks.popleft()
            self._events -= oldest.events
            self._failures -= oldest.failures


def _consecutive(offset: int, failed: dict[int, Stage]) -> dict[Stage, int]:
    """The consecutive failures of each stage directly before an offset."""
    row: list[Stage] = []
    while (stage := failed.get(offset - len(row) - 1)) is not None:
        row.append(stage)
    return {"VALUE_CONVERTER": _leading(row, "VALUE_CONVERTER"), "TASK_PUT": row.count("TASK_PUT")}


def _leading(row: Sequence[Stage], stage: Stage) -> int:
    return next((number for number, each in enumerate(row) if each != stage), len(row))
