"""Rules of limits: so many in each minute.

A process takes attempts from MongoDB by the lease, a part of the quota at a time: asking for each read would cost as
much as the read. What a process has leased and not used when the minute ends is lost, so that all processes together
never let more through than the quota, and somebody who comes through several may be stopped a few leases short of it.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit
from tweet_service.limits.repository import LeaseRepository
from tweet_service.turns import Turns

WINDOW_SECONDS = 60
# A quota is leased in so many parts.
_PARTS = 50
# Subjects whose leases are kept in this process: the latest.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class LimitPolicy:
    """`quota` in each window, by the clock."""

    name: str
    quota: int

    @property
    def lease(self) -> int:
        return max(1, self.quota // _PARTS)


@dataclass
class _Lease:
    window: int
    left: int
    total: int


class RateLimiter:
    """`clock` gives seconds since the epoch."""

    def __init__(self, leases: LeaseRepository, clock: Callable[[], float] = time.time) -> None:
        self._leases = leases
        self._clock = clock
        self._turns = Turns()
        self._held: OrderedDict[tuple[str, str], _Lease] = OrderedDict()

    async def take(self, policy: LimitPolicy, subject: str) -> RateLimit:
        """One attempt. Raises `TooManyRequests`."""
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        reset = math.ceil((window + 1) * WINDOW_SECONDS - now)
        held = self._held.get((policy.name, subject))
        if held is None or held.window != window or held.left == 0:
            held = await self._renew(policy, subject, window)
        if held.left == 0:
            raise TooManyRequests(RateLimit(policy.name, policy.quota, WINDOW_SECONDS, 0, reset))
        held.left -= 1
        remaining = max(0, policy.quota - held.total) + held.left
        return RateLimit(policy.name, policy.quota, WINDOW_SECONDS, remaining, reset)

    async def _renew(self, policy: LimitPolicy, subject: str, window: int) -> _Lease:
        key = (policy.name, subject)
        async with self._turns.of(key):
            held = self._held.get(key)
            is_current = held is not None and held.window == window
            if held is not None and is_current and (held.left or held.total >= policy.quota):
                # Somebody brought one meanwhile, or there is none to be had.
                return held
            total = await self._leases.take(policy.name, subject, window, policy.lease)
            # Of the last lease only what the quota has left is good.
            left = max(0, min(policy.lease, policy.quota - (total - policy.lease)))
            return self._remember(key, _Lease(window, left, total))

    def _remember(self, key: tuple[str, str], lease: _Lease) -> _Lease:
        self._held[key] = lease
        self._held.move_to_end(key)
        while len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)
        return lease
