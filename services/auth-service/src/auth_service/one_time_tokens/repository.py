"""Storage of one-time tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import rows_affected
from auth_service.one_time_tokens.models import LIFETIMES, OneTimeToken, Purpose
from auth_service.opaque_tokens import new_token, token_hash
from auth_service.users.models import User


class OneTimeTokenRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def issue(self, purpose: Purpose, user: User, email: str, now: datetime) -> str:
        """Store a new token and return it. Older tokens of this user for the same purpose stop working."""
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

    async def use(self, purpose: Purpose, token: str, now: datetime) -> OneTimeToken | None:
        """Use up a valid token and return it, or None. Of two concurrent calls one gets the token."""
        found = await self.get(purpose, token, now)
        deletion = delete(OneTimeToken).where(OneTimeToken.token_hash == token_hash(token))
        return found if found and await rows_affected(self._session, deletion) else None

    async def withdraw(self, purpose: Purpose, user_id: str) -> None:
        of_user = (OneTimeToken.user_id == user_id) & (OneTimeToken.purpose == purpose)
        await self._session.execute(delete(OneTimeToken).where(of_user))

    async def list_valid(self, user_id: str, now: datetime) -> Sequence[OneTimeToken]:
        valid = (OneTimeToken.user_id == user_id) & (OneTimeToken.expires_at > now)
        return (await self._session.scalars(select(OneTimeToken).where(valid))).all()
