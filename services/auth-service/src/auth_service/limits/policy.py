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


def attempt(state: Attempts | None, policy: LimitPolicy, now: datetime, under_way: int = 0) -> Attempts | None:
    """The state after one more attempt; None if it isn't allowed, which changes nothing.

    `under_way` are attempts that have begun and are not in the state yet.
    """
    made = _made(state, policy, now)
    if _wait(state, policy, now, under_way):
        return None
    return Attempts(made + 1, now, now + _delay_after(made + under_way + 1, policy))


def made_anyway(state: Attempts | None, policy: LimitPolicy, now: datetime) -> Attempts:
    """The state after an attempt that was allowed when it began, whatever was made meanwhile."""
    made = _made(state, policy, now) + 1
    return Attempts(made, now, now + _delay_after(made, policy))


def is_within_quota(state: Attempts | None, policy: LimitPolicy, now: datetime, under_way: int = 0) -> bool:
    """Is one more attempt free?"""
    return _made(state, policy, now) + under_way < policy.quota


def _made(state: Attempts | None, policy: LimitPolicy, now: datetime) -> int:
    """Attempts that are not forgotten."""
    return 0 if state is None or now >= state.last_at + policy.window else state.count


def _wait(state: Attempts | None, policy: LimitPolicy, now: datetime, under_way: int) -> timedelta:
    """How long from now until the next attempt is allowed."""
    # Within the quota there is no delay, whatever another replica's clock says.
    if is_within_quota(state, policy, now, under_way):
        return timedelta(0)
    behind_those = _delay_after(_made(state, policy, now) + under_way, policy) if under_way else timedelta(0)
    stored = state.blocked_until - now if state and _made(state, policy, now) else timedelta(0)
    return max(behind_those, stored, timedelta(0))


def _delay_after(count: int, policy: LimitPolicy) -> timedelta:
    beyond = count - policy.quota
    if beyond < 0:
        return timedelta(0)
    # No larger power than is needed: 2 ** 10,000 is no number of seconds.
    longest = policy.max_delay.total_seconds()
    return timedelta(seconds=min(2 ** min(beyond, 32), longest))


def told(state: Attempts | None, policy: LimitPolicy, now: datetime, under_way: int = 0) -> RateLimit:
    """What a client is told of this limit; seconds are rounded up."""
    made = _made(state, policy, now)
    if wait := _wait(state, policy, now, under_way):
        remaining = 0
    else:
        # Beyond the quota they come one at a time.
        remaining = max(policy.quota - made - under_way, 1)
        wait = state.last_at + policy.window - now if state and made else timedelta(0)
    return RateLimit(
        policy=policy.name,
        quota=policy.quota,
        window_seconds=int(policy.window.total_seconds()),
        remaining=remaining,
        reset_seconds=math.ceil(wait.total_seconds()),
    )
