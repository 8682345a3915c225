"""Rate limits: a quota per minute.

A process leases parts of the quota from MongoDB, because asking for each read would cost as much as the read. The
unused rest of a lease expires with the minute. So all processes together never allow more than the quota, and a client
that uses several processes may be limited a few leases below it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit
from tweet_service.keyed_lock import KeyedLock
from tweet_service.limits.repository import LeaseRepository

WINDOW_SECONDS = 60
_LEASES_PER_QUOTA = 50
_CACHED_LEASES = 10_000


@dataclass(frozen=True)
class LimitPolicy:
    """At most `quota` attempts per window. Windows start at full minutes."""

    name: str
    quota: int

    @property
    def lease(self) -> int:
        return max(1, self.quota // _LEASES_PER_QUOTA)


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
        self._lock = KeyedLock()
        self._held: LRUCache[tuple[str, str], _Lease] = LRUCache(_CACHED_LEASES)

    async def take(self, policy: LimitPolicy, subject: str, cost: int = 1) -> RateLimit:
        """Count an attempt as `cost`, at most the whole quota. Raises `TooManyRequests`."""
        cost = min(cost, policy.quota)
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        reset = math.ceil((window + 1) * WINDOW_SECONDS - now)
        held = self._held.get((policy.name, subject))
        if held is None or held.window != window or held.left < cost:
            held = await self._renew(policy, subject, window, cost)
        if held.left < cost:
            raise TooManyRequests(RateLimit(policy.name, policy.quota, WINDOW_SECONDS, held.left, reset))
        held.left -= cost
        remaining = max(0, policy.quota - held.total) + held.left
        return RateLimit(policy.name, policy.quota, WINDOW_SECONDS, remaining, reset)

    async def _renew(self, policy: LimitPolicy, subject: str, window: int, cost: int) -> _Lease:
        key = (policy.name, subject)
        async with self._lock.hold(key):
            held = self._held.get(key)
            is_current = held is not None and held.window == window
            if held is not None and is_current and (held.left >= cost or held.total >= policy.quota):
                # Another request has renewed the lease, or the quota is used up.
                return held
            size = max(policy.lease, cost)
            total = await self._leases.take(policy.name, subject, window, size)
            # The last lease may exceed the quota.
            left = max(0, min(size, policy.quota - (total - size)))
            if held is not None and is_current:
                # Requests that cost less may have used it in the meantime.
                left, held.left = left + held.left, 0
            lease = self._held[key] = _Lease(window, left, total)
            return lease
