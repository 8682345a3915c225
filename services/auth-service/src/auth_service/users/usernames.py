"""Rules of usernames: one that is given up is held for its former owner.

Otherwise old mentions and links would lead to a stranger, who could pose as the former owner.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import Clock
from auth_service.users.models import User
from auth_service.users.problems import UsernameReserved, UsernameTaken
from auth_service.users.repository import HeldUsernameRepository, UserRepository
from auth_service.users.service import is_reserved
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit

# Names that one account may hold at a time. Otherwise it could take any number of names from all others.
_MAX_HELD = 10


@dataclass(frozen=True)
class Usernames:
    """`hold` is how long a given-up username is held; zero for not at all."""

    hold: timedelta
    clock: Clock

    async def is_held(self, session: AsyncSession, username: str) -> bool:
        """Whether this username is held for an account, so that a new one can't have it."""
        return await HeldUsernameRepository(session).is_held(username, self.clock())

    async def create(self, session: AsyncSession, user: User) -> None:
        """Store an account. Raises `UsernameTaken`, `EmailTaken`."""
        await UserRepository(session).create(user)
        # After the unique index let the row in: a concurrent transaction that gave up the name is committed by then.
        if await self.is_held(session, user.username):
            raise UsernameTaken

    async def rename(self, session: AsyncSession, user: User, username: str) -> None:
        """Give a locked user another username, and hold the former one.

        Raises `UsernameReserved`, `UsernameTaken`, and `TooManyRequests` if the account holds too many names.
        """
        if is_reserved(username):
            raise UsernameReserved
        held, former, now = HeldUsernameRepository(session), user.username, self.clock()
        if former.casefold() == username.casefold():
            user.username = username
            await UserRepository(session).flush()
            return
        own = await held.list_of(user.id, now)
        is_return = any(each.username.casefold() == username.casefold() for each in own)
        if len(own) >= _MAX_HELD and not is_return:
            raise TooManyRequests(self._limit(own[0].held_until - now))
        user.username = username
        await UserRepository(session).flush()
        if await held.is_held(username, now, except_user_id=user.id):
            raise UsernameTaken
        await held.release(username)
        await self._hold(session, former, user.id, now)

    async def delete(self, session: AsyncSession, user: User) -> None:
        """Delete an account, and hold its username."""
        await UserRepository(session).delete(user)
        await self._hold(session, user.username, user.id, self.clock())

    async def _hold(self, session: AsyncSession, username: str, user_id: str, now: datetime) -> None:
        if self.hold:
            await HeldUsernameRepository(session).hold(username, user_id, now + self.hold)

    def _limit(self, wait: timedelta) -> RateLimit:
        return RateLimit(
            policy="username-changes",
            quota=_MAX_HELD,
            window_seconds=int(self.hold.total_seconds()),
            remaining=0,
            reset_seconds=math.ceil(wait.total_seconds()),
        )
