"""A number of events that all clients together may cause in a window. Pure.

It is restored continuously (GCRA, ITU-T I.371): an account of the time at which all of it will be restored is enough.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# An overdrawn budget is restored this long after a flood has ended at the latest, as a part of the window.
_MAX_OVERDRAFT = 0.1


@dataclass(frozen=True)
class Budget:
    """`quota` events are within the budget of a `window`."""

    name: str
    quota: int
    window: timedelta

    @property
    def interval(self) -> timedelta:
        """The time that restores one event."""
        return self.window / self.quota

    @property
    def latest(self) -> timedelta:
        """The budget is never fully restored later than this."""
        return self.window * (1 + _MAX_OVERDRAFT)

    def is_used_up(self, restored_at: datetime | None, now: datetime) -> bool:
        """`restored_at`: when all of the budget will be restored; None if nothing was spent."""
        return restored_at is not None and restored_at - now > self.window - self.interval
