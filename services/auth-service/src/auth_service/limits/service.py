"""Counts attempts and refuses those that come too early."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import Clock
from auth_service.limits.backoff import (
    Attempts,
    BackoffPolicy,
    is_within_quota,
    rate_limit_of,
    recent_attempts,
    record_allowed,
    record_attempt,
    reserve_attempt,
)
from auth_service.limits.budget import Budget
from auth_service.limits.repository import AttemptRepository
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit

# Ended attempts are counted in this many buckets. Two subjects in one bucket cost an additional lock, nothing else.
_BUCKETS = 4096


@dataclass(frozen=True)
class Subject:
    """What a policy counts: `key` is the network of a client or an account."""

    policy: BackoffPolicy
    key: str

    @property
    def hash(self) -> bytes:
        return _hash(self.policy.name, self.key)


@dataclass(frozen=True)
class Snapshot:
    """The states of some subjects in MySQL, and how many of their attempts had ended in this process before.

    `is_used_up`: whether more events than the budget have happened.
    """

    states: Mapping[bytes, Attempts]
    ended: Mapping[Subject, int]
    is_used_up: bool = False


class AttemptLimiter:
    """Counts attempts in MySQL.

    `take` counts before the attempt, so that concurrent attempts can't exceed the limit. `check` and then
    `record_allowed` count failed attempts only, which saves successful ones a write; meanwhile `pending` counts
    attempts in this process's memory. Replicas don't share that memory, so that each replica may allow a full quota
    in one burst.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: Counter[Subject] = Counter()
        self._taken: Counter[Subject] = Counter()
        self._ended = [0] * _BUCKETS

    async def take(self, session: AsyncSession, counted: Sequence[Subject]) -> RateLimit:
        """Count one attempt of each subject, and return the limit with the fewest remaining attempts.

        Raises `TooManyRequests` if a subject must wait; then nothing is counted.
        """
        attempts = AttemptRepository(session)
        states = await attempts.lock([subject.hash for subject in counted])
        now = self._clock()
        self._refuse_if_blocked(states, counted, now)
        taken = {
            subject: state
            for subject in counted
            if (state := record_attempt(states.get(subject.hash), subject.policy, now, self._pending[subject]))
        }
        await attempts.put({subject.hash: (state, subject.policy.window) for subject, state in taken.items()})
        return _nearest(
            [rate_limit_of(state, subject.policy, now, self._pending[subject]) for subject, state in taken.items()]
        )

    async def reserve(self, session: AsyncSession, subject: Subject, before: datetime) -> timedelta | None:
        """Count an attempt that can wait, and return how long: each waits for those that were counted earlier.

        None if it would be allowed at `before` or later; then nothing is counted.
        """
        attempts = AttemptRepository(session)
        states, now = await attempts.lock([subject.hash]), self._clock()
        state = reserve_attempt(states.get(subject.hash), subject.policy, now)
        if state.last_at >= before:
            return None
        await attempts.put({subject.hash: (state, subject.policy.window)})
        return state.last_at - now

    def check(self, snapshot: Snapshot, counted: Sequence[Subject]) -> RateLimit | None:
        """The limit with the fewest remaining attempts if one more is free for each subject, else None.

        None means that the attempt must be taken with `take`. Otherwise the caller makes the attempt inside
        `pending`.
        """
        now = self._clock()
        limits = []
        for subject in counted:
            state, pending = snapshot.states.get(subject.hash), self._begun(snapshot, subject)
            if not is_within_quota(state, subject.policy, now, pending):
                return None
            after = record_attempt(state, subject.policy, now)
            limits.append(rate_limit_of(after, subject.policy, now, pending))
        return _nearest(limits)

    def recent(self, snapshot: Snapshot, subject: Subject) -> int:
        """How many attempts of the subject are recent, including those that have begun."""
        state = snapshot.states.get(subject.hash)
        return recent_attempts(state, subject.policy, self._clock()) + self._begun(snapshot, subject)

    def _begun(self, snapshot: Snapshot, subject: Subject) -> int:
        """The attempts that were taken or ended after the snapshot, too, because the snapshot may lack them."""
        ended = self._ended[_bucket(subject)] - snapshot.ended[subject]
        return self._pending[subject] + self._taken[subject] + ended

    @contextmanager
    def pending(self, subjects: Sequence[Subject], *, is_taken: bool = False) -> Iterator[None]:
        """Count an attempt in memory for the length of the block. `is_taken`: `take` counts it in MySQL."""
        pending = self._taken if is_taken else self._pending
        pending.update(subjects)
        try:
            yield
        finally:
            pending.subtract(subjects)
            for subject in subjects:
                self._ended[_bucket(subject)] += 1
                if not pending[subject]:
                    del pending[subject]

    async def snapshot(
        self, session: AsyncSession, subjects: Sequence[Subject], budget: Budget | None = None
    ) -> Snapshot:
        ended = {subject: self._ended[_bucket(subject)] for subject in subjects}
        budgets = [] if budget is None else [_hash(budget.name)]
        states = await AttemptRepository(session).get([*budgets, *(subject.hash for subject in subjects)])
        spent = states.get(_hash(budget.name)) if budget else None
        is_used_up = budget is not None and spent is not None and budget.is_used_up(spent.blocked_until, self._clock())
        return Snapshot(states, ended, is_used_up)

    async def spend(self, session: AsyncSession, budget: Budget) -> None:
        """Count an event. Locks the budget until the transaction ends: call this last."""
        await AttemptRepository(session).spend(_hash(budget.name), budget, self._clock())

    async def record_allowed(self, session: AsyncSession, *subjects: Subject) -> None:
        """Count an attempt that `check` allowed."""
        attempts = AttemptRepository(session)
        states: dict[bytes, Attempts] = await attempts.lock([subject.hash for subject in subjects])
        now = self._clock()
        after = {subject: record_allowed(states.get(subject.hash), subject.policy, now) for subject in subjects}
        await attempts.put({subject.hash: (state, subject.policy.window) for subject, state in after.items()})

    async def blocked(self, session: AsyncSession, *subjects: Subject) -> list[RateLimit]:
        """The limits of the subjects that must wait, according to MySQL."""
        snapshot, now = await self.snapshot(session, subjects), self._clock()
        limits = (rate_limit_of(snapshot.states.get(subject.hash), subject.policy, now) for subject in subjects)
        return [limit for limit in limits if not limit.remaining]

    async def refund(self, session: AsyncSession, *, account: Subject, address: Subject) -> None:
        """After a correct password: reset the account's attempts, and give the address its last attempt back."""
        await AttemptRepository(session).refund(reset=account.hash, decremented=address.hash)

    async def reset(self, session: AsyncSession, *subjects: Subject) -> None:
        await AttemptRepository(session).delete([subject.hash for subject in subjects])

    def _refuse_if_blocked(self, states: Mapping[bytes, Attempts], subjects: Sequence[Subject], now: datetime) -> None:
        limits = (rate_limit_of(states.get(each.hash), each.policy, now, self._pending[each]) for each in subjects)
        if blocked := [limit for limit in limits if not limit.remaining]:
            raise TooManyRequests(max(blocked, key=lambda limit: limit.reset_seconds))


def _hash(policy: str, key: str = "") -> bytes:
    return hashlib.sha256(f"{policy}\0{key}".encode()).digest()


def _bucket(subject: Subject) -> int:
    return hash(subject) % _BUCKETS


def _nearest(limits: Sequence[RateLimit]) -> RateLimit:
    return min(limits, key=lambda limit: limit.remaining)
