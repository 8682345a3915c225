"""Takes and gives back attempts."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import Clock
from auth_service.limits.policy import Attempts, LimitPolicy, attempt, is_within_quota, made_anyway, told
from auth_service.limits.repository import AttemptRepository
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit

# How many attempts have ended is kept in so many counters: subjects that share one seem busier, which costs a lock.
_COUNTERS = 4096


@dataclass(frozen=True)
class Subject:
    """Whom a policy counts: `key` is an address, an account, or nothing for everybody together."""

    policy: LimitPolicy
    key: str = ""

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(f"{self.policy.name}\0{self.key}".encode()).digest()


@dataclass(frozen=True)
class View:
    """What MySQL said of some subjects, and for each of them how many attempts had ended here before it was asked."""

    states: Mapping[bytes, Attempts]
    ended: Mapping[Subject, int]


class AttemptLimiter:
    """Counts attempts in MySQL, before they are made (`take`): of many at once none slips through.

    Or only those that fail (`look`, then `count`), which spares those that succeed a write. Then the ones that are
    under way in this process are counted in memory meanwhile; only replicas don't see each other's, so of a burst
    over several replicas each lets as many through as one alone.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: Counter[Subject] = Counter()
        self._taken: Counter[Subject] = Counter()
        self._ended = [0] * _COUNTERS

    async def take(
        self, session: AsyncSession, counted: Sequence[Subject], watched: Sequence[Subject] = ()
    ) -> RateLimit:
        """Count one attempt of every `counted` subject, and return the nearest limit.

        Raises `TooManyRequests`, having counted nothing, if a subject must wait; those `watched` can make it so too,
        but are counted elsewhere.
        """
        attempts = AttemptRepository(session)
        states = await attempts.lock([subject.hash for subject in counted], also=[subject.hash for subject in watched])
        now = self._clock()
        self._refuse_if_blocked(states, [*counted, *watched], now)
        taken = {
            subject: state
            for subject in counted
            if (state := attempt(states.get(subject.hash), subject.policy, now, self._under_way[subject]))
        }
        await attempts.put({subject.hash: (state, subject.policy.window) for subject, state in taken.items()})
        return _nearest(
            [told(state, subject.policy, now, self._under_way[subject]) for subject, state in taken.items()]
        )

    def look(self, view: View, counted: Sequence[Subject], watched: Sequence[Subject] = ()) -> RateLimit | None:
        """The nearest limit if one more attempt is free for every subject, else None: then it has to be taken.

        One that was taken or has ended since may be missing in the view, and is counted as if it were under way.

        Who goes on with it at once does so in `under_way`. Raises `TooManyRequests` for one `watched`.
        """
        now = self._clock()
        self._refuse_if_blocked(view.states, watched, now)
        limits = []
        for subject in counted:
            state = view.states.get(subject.hash)
            ended = self._ended[_counter(subject)] - view.ended[subject]
            under_way = self._under_way[subject] + self._taken[subject] + ended
            if not is_within_quota(state, subject.policy, now, under_way):
                return None
            limits.append(told(attempt(state, subject.policy, now), subject.policy, now, under_way))
        return _nearest(limits)

    @contextmanager
    def under_way(self, subjects: Sequence[Subject], *, is_taken: bool = False) -> Iterator[None]:
        """An attempt of these subjects is being made, which nobody has counted, unless it is (about to be) taken."""
        under_way = self._taken if is_taken else self._under_way
        under_way.update(subjects)
        try:
            yield
        finally:
            under_way.subtract(subjects)
            for subject in subjects:
                self._ended[_counter(subject)] += 1
                if not under_way[subject]:
                    del under_way[subject]

    async def view(self, session: AsyncSession, subjects: Sequence[Subject]) -> View:
        ended = {subject: self._ended[_counter(subject)] for subject in subjects}
        return View(await AttemptRepository(session).get([subject.hash for subject in subjects]), ended)

    async def count(self, session: AsyncSession, *subjects: Subject) -> None:
        """Count an attempt that was allowed already."""
        attempts = AttemptRepository(session)
        states: dict[bytes, Attempts] = await attempts.lock([subject.hash for subject in subjects])
        now = self._clock()
        after = {subject: made_anyway(states.get(subject.hash), subject.policy, now) for subject in subjects}
        await attempts.put({subject.hash: (state, subject.policy.window) for subject, state in after.items()})

    async def blocked(self, session: AsyncSession, *subjects: Subject) -> list[RateLimit]:
        """The limits of those that must wait, by what has been counted."""
        view, now = await self.view(session, subjects), self._clock()
        limits = (told(view.states.get(subject.hash), subject.policy, now) for subject in subjects)
        return [limit for limit in limits if not limit.remaining]

    async def succeeded(self, session: AsyncSession, *, account: Subject, address: Subject) -> None:
        """Who knows the password has all attempts on that account again; his address gets back the one it took."""
        await AttemptRepository(session).give_back(cleared=account.hash, eased=address.hash)

    async def forget(self, session: AsyncSession, *subjects: Subject) -> None:
        await AttemptRepository(session).forget([subject.hash for subject in subjects])

    def _refuse_if_blocked(self, states: Mapping[bytes, Attempts], subjects: Sequence[Subject], now: datetime) -> None:
        limits = (told(states.get(each.hash), each.policy, now, self._under_way[each]) for each in subjects)
        if blocked := [limit for limit in limits if not limit.remaining]:
            raise TooManyRequests(max(blocked, key=lambda limit: limit.reset_seconds))


def _counter(subject: Subject) -> int:
    return hash(subject) % _COUNTERS


def _nearest(limits: Sequence[RateLimit]) -> RateLimit:
    return min(limits, key=lambda limit: limit.remaining)
