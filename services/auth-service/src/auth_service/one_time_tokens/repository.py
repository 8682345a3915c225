"""Storage of one-time tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import rows_affected
from auth_service.one_time_tokens.models import LIFETIMES, OneTimeToken, Purpose
from auth_service.opaque_tokens import new_token, token_hash
from auth_service.users.models import User


class OneTimeTokenRepository:
    """Lock the user first, where a transaction does both: so no two transactions wait for each other."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def issue(self, purpose: Purpose, user: User, email: str, now: datetime) -> str:
        """Store a new token and return it.

        Older tokens of this user for the same purpose stop working, except those that undo a change: an intruder who
        changes the address twice must not end the first owner's link.
        """
        if purpose is not Purpose.UNDO_EMAIL:
            await self.withdraw(purpose, user.id)
        token = new_token()
        self._session.add(
            OneTimeToken(
                token_hash=token_hash(token),
                purpose=purpose,
                user_id=user.id,
                email=email,
                created_at=now,
                expires_at=now + LIFETIMES[purpose],
            )
        )
        return token

    async def get(self, purpose: Purpose, token: str, now: datetime) -> OneTimeToken | None:
        """A valid token, or None if it is unknown, used or expired."""
        query = select(OneTimeToken).where(
            OneTimeToken.token_hash == token_hash(token), OneTimeToken.purpose == purpose, OneTimeToken.expires_at > now
        )
        found: OneTimeToken | None = await self._session.scalar(query)
        return found

    async def use(self, token: OneTimeToken) -> bool:
        """Use up a token. Of two concurrent calls one returns true."""
        deletion = delete(OneTimeToken).where(OneTimeToken.token_hash == token.token_hash)
        return await rows_affected(self._session, deletion) == 1

    async def withdraw(self, purpose: Purpose, user_id: str) -> None:
        of_user = (OneTimeToken.user_id == user_id) & (OneTimeToken.purpose == purpose)
        await self._session.execute(delete(OneTimeToken).where(of_user))

    async def withdraw_all(self, user_id: str, *, undo_since: datetime | None = None) -> None:
        """Withdraw all tokens of a user, but of those that undo a change only the ones since `undo_since`, if given.

        Undo tokens outlive a change of the password or the address, because an intruder may have made it.
        """
        ends = OneTimeToken.purpose != Purpose.UNDO_EMAIL
        if undo_since is not None:
            ends |= OneTimeToken.created_at >= undo_since
        await self._session.execute(delete(OneTimeToken).where(OneTimeToken.user_id == user_id, ends))

    async def protected_since(self, user_id: str, email: str, now: datetime) -> datetime | None:
        """When the oldest link was issued with which the user can restore this address now. None if there is no link.

        The links of later addresses are newer: an intruder can have caused them only after the change.
        """
        query = select(func.min(OneTimeToken.created_at)).where(
            OneTimeToken.user_id == user_id,
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.email == email,
            OneTimeToken.expires_at > now,
        )
        since: datetime | None = await self._session.scalar(query)
        return since

    async def is_held(self, email: str, now: datetime, *, except_user_id: str) -> bool:
        """Whether another user may still restore this address."""
        query = select(OneTimeToken.user_id).where(
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.email == email,
            OneTimeToken.user_id != except_user_id,
            OneTimeToken.expires_at > now,
        )
        return await self._session.scalar(query.limit(1)) is not None

    async def list_valid(self, user_id: str, now: datetime) -> Sequence[OneTimeToken]:
        valid = (OneTimeToken.user_id == user_id) & (OneTimeToken.expires_at > now)
        return (await self._session.scalars(select(OneTimeToken).where(valid))).all()
