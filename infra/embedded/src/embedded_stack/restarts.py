"""How often, and how soon, a component that dies is started again."""

import time
from collections import defaultdict, deque
from collections.abc import Callable

MAX_RESTARTS = 3
WINDOW_SECONDS = 60.0
_FIRST_DELAY_SECONDS = 1.0


class RestartPolicy:
    """At most `MAX_RESTARTS` in `WINDOW_SECONDS`, each after twice the delay of the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._restarts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MAX_RESTARTS))

    def next_restart(self, name: str) -> float | None:
        """In how many seconds to start it again, after it has died; None if it has died too often."""
        recent = self.recent(name)
        if recent >= MAX_RESTARTS:
            return None
        delay = float(_FIRST_DELAY_SECONDS * 2**recent)
        self._restarts[name].append(self._clock() + delay)
        return delay

    def recent(self, name: str) -> int:
        """How many restarts there were lately."""
        begin = self._clock() - WINDOW_SECONDS
        return sum(moment > begin for moment in self._restarts[name])

    def forget(self, name: str) -> None:
        """A person has started or stopped it: count from the beginning."""
        self._restarts.pop(name, None)
