"""When an attempt is allowed. Pure: a state and a moment in, a state out.

The first attempts are free. From then on each is followed by a delay that doubles, up to a bound: a lock would let
anybody shut somebody else out for good (OWASP Authentication Cheat Sheet, "Account Lockout").
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class LimitPolicy:
    """`quota` attempts are free; after `window` without any, they are again. No delay is longer than `max_delay`."""

    name: str
    quota: int
    window: timedelta
    max_delay: timedelta


@dataclass(frozen=True)
class Attempts:
    """Of one subject, say an address: how many lately, the last one when, the next one not before when."""

    count: int
    last_at: datetime
    blocked_until: datetime


def attempt(state: Attempts | None, policy: LimitPolicy, now: datetime) -> Attempts | None:
    """The state after one more attempt; None if it isn't allowed, which changes nothing."""
    if state is None or now >= state.last_at + policy.window:
        count = 1
    elif _must_wait(state, policy, now):
        return None
    else:
        count = state.count + 1
    return Attempts(count, now, now + _delay_after(count, policy))


def _must_wait(state: Attempts, policy: LimitPolicy, now: datetime) -> bool:
    # Within the quota there is no delay, whatever another replica's clock says.
    return state.count >= policy.quota and now < state.blocked_until


def _delay_after(count: int, policy: LimitPolicy) -> timedelta:
    beyond = count - policy.quota
    if beyond < 0:
        return timedelta(0)
    # No larger power than is needed: 2 ** 10,000 is no number of seconds.
    longest = policy.max_delay.total_seconds()
    return timedelta(seconds=min(2 ** min(beyond, 32), longest))


def told(state: Attempts | None, policy: LimitPolicy, now: datetime) -> RateLimit:
    """What a client is told of this limit; seconds are rounded up."""
    if state is None or now >= state.last_at + policy.window:
        remaining, wait = policy.quota, timedelta(0)
    elif _must_wait(state, policy, now):
        remaining, wait = 0, state.blocked_until - now
    else:
        # Beyond the quota they come one at a time.
        remaining, wait = max(policy.quota - state.count, 1), state.last_at + policy.window - now
    return RateLimit(
        policy=policy.name,
        quota=policy.quota,
        window_seconds=int(policy.window.total_seconds()),
        remaining=remaining,
        reset_seconds=math.ceil(wait.total_seconds()),
    )
