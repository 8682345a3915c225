"""Statistics of one route since the start of the process."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from sync_service.metrics import SyncMetrics

EventOutcome = Literal["applied", "skipped", "superseded", "ignored", "dead-lettered"]

RATE_WINDOW_SECONDS = 60
LATENCIES_KEPT = 1000
NOT_PREPARED = "not prepared yet"


@dataclass
class RouteStatistics:
    """Counts of events and the latest latencies in seconds, for `/v1/status` and for Prometheus.

    `blocked` is the error of the dependency that a partition waits for, by the partition's number. `waits_for_topic` is
    why the topic can't be read, `not_prepared` why the copy can't be written yet.
    """

    route: str
    metrics: SyncMetrics
    outcomes: Counter[EventOutcome] = field(default_factory=Counter)
    last_event_at: datetime | None = None
    blocked: dict[int, str] = field(default_factory=dict)
    waits_for_topic: str | None = None
    not_prepared: str | None = NOT_PREPARED
    # Of the source, as they are noticed.
    new_fields: list[str] = field(default_factory=list)
    # Why the type of each in the source no longer fits.
    unfit_fields: Mapping[str, str] = field(default_factory=dict)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _finished: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.metrics.blocked.labels(self.route).set_function(lambda: self.blocked_by is not None)

    def count(self, outcome: EventOutcome, operations: Iterable[str]) -> None:
        """Count finished events by the operation of each."""
        numbers = Counter(operations)
        for operation, number in numbers.items():
            self.metrics.events.labels(self.route, operation, outcome).inc(number)
        if total := numbers.total():
            self.outcomes[outcome] += total
            self.last_event_at = datetime.now(UTC)
            self._finished.append((time.monotonic(), total))
            self._forget_old()

    def note_new_field(self, name: str) -> None:
        self.new_fields.append(name)
        self.metrics.new_fields.labels(self.route).inc()

    def note_unfit_fields(self, found: Mapping[str, str]) -> None:
        self.unfit_fields = found
        self.metrics.unfit_fields.labels(self.route).set(len(found))

    @property
    def blocked_by(self) -> str | None:
        """Why the route waits: for its topic, for its copy, or for a dependency."""
        return self.waits_for_topic or self.not_prepared or next(iter(self.blocked.values()), None)

    @property
    def finished(self) -> int:
        """The number of finished events, whatever their outcome."""
        return self.outcomes.total()

    @property
    def rate(self) -> float:
        """Events per second over the last minute."""
        self._forget_old()
        return sum(number for _, number in self._finished) / RATE_WINDOW_SECONDS

    def observe_latencies(self, seconds: Sequence[float]) -> None:
        self.latencies.extend(seconds[-LATENCIES_KEPT:])
        observe = self.metrics.latency.labels(self.route).observe
        for each in seconds:
            observe(each)

    def _forget_old(self) -> None:
        limit = time.monotonic() - RATE_WINDOW_SECONDS
        while self._finished and self._finished[0][0] < limit:
            self._finished.popleft()


def percentile(values: Sequence[float], share: float) -> float | None:
    """By nearest rank; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
