"""How often and how soon a component that dies is restarted."""

import time
from collections import defaultdict, deque
from collections.abc import Callable

MAX_RESTARTS = 3
WINDOW_SECONDS = 60.0
_FIRST_DELAY_SECONDS = 1.0


class RestartPolicy:
    """At most `MAX_RESTARTS` restarts in `WINDOW_SECONDS`. The delay doubles with each restart."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._restarts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MAX_RESTARTS))

    def next_restart(self, name: str) -> float | None:
        """Seconds until the next restart of a component that has died. None if it died too often."""
        recent = self.recent(name)
        if recent >= MAX_RESTARTS:
            return None
        delay = float(_FIRST_DELAY_SECONDS * 2**recent)
        self._restarts[name].append(self._clock() + delay)
        return delay

    def recent(self, name: str) -> int:
        """The number of restarts in the last `WINDOW_SECONDS`."""
        begin = self._clock() - WINDOW_SECONDS
        return sum(moment > begin for moment in self._restarts[name])

    def forget(self, name: str) -> None:
        """Reset the count, because an operator started or stopped the component."""
        self._restarts.pop(name, None)
