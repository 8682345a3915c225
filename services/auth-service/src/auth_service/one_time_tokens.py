"""Tokens that are mailed and work once. Kept as hashes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import BINARY, ForeignKey, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import User
from auth_service.database import Moment, Table, rows_affected
from auth_service.opaque_tokens import new_token, token_hash

MAX_TOKEN_LENGTH = 100


class Purpose(StrEnum):
    RESET_PASSWORD = "reset-password"  # noqa: S105 - a purpose, not a password
    CONFIRM_EMAIL = "confirm-email"


# ASVS 5.0 §6.5.5 bounds what opens an account to ten minutes; a confirmation opens nothing.
LIFETIMES = {Purpose.RESET_PASSWORD: timedelta(minutes=10), Purpose.CONFIRM_EMAIL: timedelta(days=1)}


class OneTimeToken(Table):
    """`email` is the address it was sent to: what it proves is that its user reads mail there."""

    __tablename__ = "one_time_tokens"

    token_hash: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    purpose: Mapped[str]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    email: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)


class OneTimeTokenRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def issue(self, purpose: Purpose, user: User, email: str, now: datetime) -> str:
        """A new token; an older one for the same purpose works no more."""
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
        """The token, still to be used; None if it is unknown, used or expired."""
        query = select(OneTimeToken).where(
            OneTimeToken.token_hash == token_hash(token), OneTimeToken.purpose == purpose, OneTimeToken.expires_at > now
        )
        found: OneTimeToken | None = await self._session.scalar(query)
        return found

    async def use(self, purpose: Purpose, token: str, now: datetime) -> OneTimeToken | None:
        """The token, used up; None if there was none to use. Of two uses at once, one gets it."""
        found = await self.get(purpose, token, now)
        deletion = delete(OneTimeToken).where(OneTimeToken.token_hash == token_hash(token))
        return found if found and await rows_affected(self._session, deletion) else None

    async def withdraw(self, purpose: Purpose, user_id: str) -> None:
        of_user = (OneTimeToken.user_id == user_id) & (OneTimeToken.purpose == purpose)
        await self._session.execute(delete(OneTimeToken).where(of_user))

    async def list_valid(self, user_id: str, now: datetime) -> Sequence[OneTimeToken]:
        valid = (OneTimeToken.user_id == user_id) & (OneTimeToken.expires_at > now)
        return (await self._session.scalars(select(OneTimeToken).where(valid))).all()
