"""What one route has done since the process began."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sync_service.status.metrics import SyncMetrics

RATE_WINDOW_SECONDS = 60
LATENCIES_KEPT = 1000


@dataclass
class RouteStatistics:
    """Counts of events, and the latest latencies in seconds, both for `/v1/status` and for Prometheus."""

    route: str
    metrics: SyncMetrics
    applied: int = 0
    skipped: int = 0
    superseded: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    last_event_at: datetime | None = None
    blocked_by: str | None = None
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _finished: deque[tuple[float, int]] = field(default_factory=deque)

    def count(
        self, *, applied: int = 0, skipped: int = 0, superseded: int = 0, ignored: int = 0, dead_lettered: int = 0
    ) -> None:
        """Take note of events that are done with."""
        self.applied += applied
        self.skipped += skipped
        self.superseded += superseded
        self.ignored += ignored
        self.dead_lettered += dead_lettered
        outcomes = {
            "applied": applied,
            "skipped": skipped,
            "superseded": superseded,
            "ignored": ignored,
            "dead-lettered": dead_lettered,
        }
        for outcome, number in outcomes.items():
            if number:
                self.metrics.events.labels(self.route, outcome).inc(number)
        self.last_event_at = datetime.now(UTC)
        self._finished.append((time.monotonic(), sum(outcomes.values())))
        self._forget_old()

    @property
    def finished(self) -> int:
        """Events that are done with, however they ended."""
        return self.applied + self.skipped + self.superseded + self.ignored + self.dead_lettered

    @property
    def rate(self) -> float:
        """Events a second, over the last minute."""
        self._forget_old()
        return sum(number for _, number in self._finished) / RATE_WINDOW_SECONDS

    def observe_latency(self, seconds: float) -> None:
        self.latencies.append(seconds)
        self.metrics.latency.labels(self.route).observe(seconds)

    def _forget_old(self) -> None:
        limit = time.monotonic() - RATE_WINDOW_SECONDS
        while self._finished and self._finished[0][0] < limit:
            self._finished.popleft()


def percentile(values: Sequence[float], share: float) -> float | None:
    """By nearest rank; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
