"""Takes and gives back attempts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import Clock
from auth_service.limits.policy import Attempts, LimitPolicy, attempt, told
from auth_service.limits.repository import AttemptRepository
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class Subject:
    """Whom a policy counts: `key` is an address, an account, or nothing for everybody together."""

    policy: LimitPolicy
    key: str = ""

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(f"{self.policy.name}\0{self.key}".encode()).digest()


@dataclass(frozen=True)
class AttemptLimiter:
    clock: Clock

    async def take(
        self, session: AsyncSession, counted: Sequence[Subject], watched: Sequence[Subject] = ()
    ) -> RateLimit:
        """Count one attempt of every `counted` subject, before it is made: of many at once none slips through.

        Returns the nearest limit. Raises `TooManyRequests`, having counted nothing, if a subject must wait; those
        `watched` can make it so too, but are counted elsewhere.
        """
        attempts = AttemptRepository(session)
        states = await attempts.lock([subject.hash for subject in counted], also=[subject.hash for subject in watched])
        now = self.clock()
        after = {subject: attempt(states.get(subject.hash), subject.policy, now) for subject in (*counted, *watched)}
        blocked = [told(states[subject.hash], subject.policy, now) for subject, state in after.items() if state is None]
        if blocked:
            raise TooManyRequests(max(blocked, key=lambda limit: limit.reset_seconds))
        taken = {subject: state for subject in counted if (state := after[subject])}
        await attempts.put({subject.hash: (state, subject.policy.window) for subject, state in taken.items()})
        limits = [told(state, subject.policy, now) for subject, state in taken.items()]
        return min(limits, key=lambda limit: limit.remaining)

    async def count(self, session: AsyncSession, subject: Subject) -> None:
        """Count an attempt that was allowed already."""
        attempts = AttemptRepository(session)
        state: Attempts | None = (await attempts.lock([subject.hash])).get(subject.hash)
        if after := attempt(state, subject.policy, self.clock()):
            await attempts.put({subject.hash: (after, subject.policy.window)})

    async def blocked(self, session: AsyncSession, subjects: Sequence[Subject]) -> list[RateLimit]:
        """The limits of those subjects that must wait now."""
        states, now = await AttemptRepository(session).get([subject.hash for subject in subjects]), self.clock()
        known = [(states[subject.hash], subject.policy) for subject in subjects if subject.hash in states]
        return [told(state, policy, now) for state, policy in known if attempt(state, policy, now) is None]

    async def succeeded(self, session: AsyncSession, *, account: Subject, address: Subject) -> None:
        """Who knows the password has all attempts on that account again; his address gets back the one it took."""
        await AttemptRepository(session).give_back(cleared=account.hash, eased=address.hash)

    async def forget(self, session: AsyncSession, *subjects: Subject) -> None:
        await AttemptRepository(session).forget([subject.hash for subject in subjects])
