"""The way of guesses while the budget of all failed logins is used up."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from auth_service.limits.budget import Budget
from auth_service.ranked_queue import QueueFull, RankedQueue
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit

# The longest wait of the client with the fewest failures. A user who has mistyped a password does not wait for longer.
MAX_WAIT_SECONDS = 5.0
_MAX_PACE_SECONDS = 1.0


class SlowLane:
    """Admits one attempt at a time, at the pace at which the budget is restored: the fewest failures first.

    Only clients that have failed recently go this way, so that others log in as if there were no attack. Each process
    has its own lane. `sleep` is for tests.
    """

    def __init__(self, budget: Budget, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._budget = budget
        self._sleep = sleep
        self._pace = min(budget.interval.total_seconds(), _MAX_PACE_SECONDS)
        self._queue = RankedQueue(1, waiting=max(1, int(MAX_WAIT_SECONDS / self._pace) - 1))

    async def wait(self, failures: int) -> None:
        """Wait for a turn. Raises `TooManyRequests` if too many wait that have failed less often."""
        try:
            async with self._queue.place(failures):
                await self._sleep(self._pace)
        except QueueFull as error:
            budget = self._budget
            window = int(budget.window.total_seconds())
            wait = math.ceil(MAX_WAIT_SECONDS)
            raise TooManyRequests(RateLimit(budget.name, budget.quota, window, 0, wait)) from error
