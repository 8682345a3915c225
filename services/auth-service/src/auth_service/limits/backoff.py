"""Decides when an attempt is allowed. Pure.

The first attempts are free. After that each attempt causes a delay, which doubles up to a maximum. An account is never
locked: a lock would let an attacker shut out its owner (OWASP Authentication Cheat Sheet, "Account Lockout"). Only what
needs the right password may have a first delay that is as long as the window.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class BackoffPolicy:
    """`quota` attempts are free. A `window` without attempts resets the count.

    The last free attempt causes the `first_delay`, each further one twice the delay before, up to `max_delay`.
    """

    name: str
    quota: int
    window: timedelta
    max_delay: timedelta
    first_delay: timedelta = timedelta(seconds=1)


@dataclass(frozen=True)
class Attempts:
    """The recent attempts of one subject, for example of an IP address."""

    count: int
    last_at: datetime
    blocked_until: datetime


def record_attempt(state: Attempts | None, policy: BackoffPolicy, now: datetime, pending: int = 0) -> Attempts | None:
    """The state after one more attempt, or None if the attempt is not allowed.

    `pending` is the number of attempts that have begun and are not part of the state yet.
    """
    if _wait(state, policy, now, pending):
        return None
    count = recent_attempts(state, policy, now)
    return Attempts(count + 1, now, now + _delay_after(count + pending + 1, policy))


def reserve_attempt(state: Attempts | None, policy: BackoffPolicy, now: datetime) -> Attempts:
    """The state after one more attempt, which is to be made at its `last_at`: now, or when it is allowed."""
    at = now + _wait(state, policy, now, 0)
    count = recent_attempts(state, policy, now) + 1
    return Attempts(count, at, at + _delay_after(count, policy))


def record_allowed(state: Attempts | None, policy: BackoffPolicy, now: datetime) -> Attempts:
    """The state after an attempt that was allowed when it began, regardless of later attempts."""
    count = recent_attempts(state, policy, now) + 1
    return Attempts(count, now, now + _delay_after(count, policy))


def is_within_quota(state: Attempts | None, policy: BackoffPolicy, now: datetime, pending: int = 0) -> bool:
    """Whether one more attempt is free."""
    return recent_attempts(state, policy, now) + pending < policy.quota


def recent_attempts(state: Attempts | None, policy: BackoffPolicy, now: datetime) -> int:
    """The number of attempts in the current window."""
    return 0 if state is None or now >= state.last_at + policy.window else state.count


def _wait(state: Attempts | None, policy: BackoffPolicy, now: datetime, pending: int) -> timedelta:
    """The time until the next attempt is allowed."""
    # No delay within the quota, even if the clock of another replica differs.
    if is_within_quota(state, policy, now, pending):
        return timedelta(0)
    count = recent_attempts(state, policy, now)
    after_pending = _delay_after(count + pending, policy) if pending else timedelta(0)
    stored = state.blocked_until - now if state and count else timedelta(0)
    return max(after_pending, stored, timedelta(0))


def _delay_after(count: int, policy: BackoffPolicy) -> timedelta:
    beyond = count - policy.quota
    if beyond < 0:
        return timedelta(0)
    # The exponent is limited: a float can't hold 2 ** 10,000.
    max_seconds = policy.max_delay.total_seconds()
    return timedelta(seconds=min(policy.first_delay.total_seconds() * 2 ** min(beyond, 32), max_seconds))


def rate_limit_of(state: Attempts | None, policy: BackoffPolicy, now: datetime, pending: int = 0) -> RateLimit:
    """The limit as the client sees it. Seconds are rounded up."""
    count = recent_attempts(state, policy, now)
    if wait := _wait(state, policy, now, pending):
        remaining = 0
    else:
        # Beyond the quota one attempt is allowed after each delay.
        remaining = max(policy.quota - count - pending, 1)
        wait = state.last_at + policy.window - now if state and count else timedelta(0)
    return RateLimit(
        policy=policy.name,
        quota=policy.quota,
        window_seconds=int(policy.window.total_seconds()),
        remaining=remaining,
        reset_seconds=math.ceil(wait.total_seconds()),
    )
