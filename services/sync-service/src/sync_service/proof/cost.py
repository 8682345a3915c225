"""What a comparison costs this process and each store, however busy their processors are with other work. Pure.

The elapsed time is an upper bound, because each of them works in one thread. But on a busy machine a comparison mostly
waits for a processor, and a pause of a multiple of that time would be far too long.
"""

from collections import deque

COMPARISONS = 10


class ComparisonCost:
    """For the comparisons of one route: the rows of its ranges are similar."""

    def __init__(self) -> None:
        self._seconds_per_row: deque[float] = deque(maxlen=COMPARISONS)

    def seconds(self, rows: int, elapsed: float, cpu: float) -> float:
        """The cost of a comparison of this many rows: by the least time that a row took in the latest comparisons.

        It is at least `cpu`, the processor time that the event loop has used meanwhile, for other tasks, too.
        """
        rows = max(1, rows)
        self._seconds_per_row.append(elapsed / rows)
        return max(rows * min(self._seconds_per_row), min(cpu, elapsed))
