"""Storage of one-time tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from auth_service.database import rows_affected, table_of
from auth_service.one_time_tokens.models import LIFETIMES, OneTimeToken, Purpose
from auth_service.opaque_tokens import new_token, token_hash
from auth_service.users.models import Credential, User

# Longer than a password waits to be hashed.
_CLAIM = timedelta(seconds=30)
# A token holds its address for this much longer than it is valid. Another transaction, which is not committed yet, may
# have issued the next one while it was valid: this is longer than any transaction, and than the clocks of replicas
# differ.
_HOLD_AFTER_EXPIRY = timedelta(minutes=1)


class OneTimeTokenRepository:
    """Lock the user first, where a transaction does both: so no two transactions wait for each other."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def issue(
        self, purpose: Purpose, user: User, email: str, now: datetime, *, is_confirmed: bool = False
    ) -> str:
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
                is_confirmed=is_confirmed,
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

    async def claim(self, token: OneTimeToken, now: datetime) -> datetime | None:
        """Reserve a token before costly work, until `use` or `release`.

        Returns the end of the reservation, or None if another request has one. It ends by itself, so that the token of
        a request that was interrupted works again.
        """
        is_free = OneTimeToken.claimed_until.is_(None) | (OneTimeToken.claimed_until <= now)
        which = (OneTimeToken.token_hash == token.token_hash) & is_free
        until = now + _CLAIM
        claim = update(OneTimeToken).where(which).values(claimed_until=until)
        return until if await rows_affected(self._session, claim) == 1 else None

    async def release(self, token: OneTimeToken, claimed_until: datetime) -> None:
        """End the reservation that `claim` returned. A later one of another request stays."""
        which = (OneTimeToken.token_hash == token.token_hash) & (OneTimeToken.claimed_until == claimed_until)
        await self._session.execute(update(table_of(OneTimeToken)).where(which).values(claimed_until=None))

    async def use(self, token: OneTimeToken) -> bool:
        """Use up a token. Of two concurrent calls one returns true."""
        deletion = delete(OneTimeToken).where(OneTimeToken.token_hash == token.token_hash)
        return await rows_affected(self._session, deletion) == 1

    async def withdraw(self, purpose: Purpose, user_id: str) -> None:
        of_user = (OneTimeToken.user_id == user_id) & (OneTimeToken.purpose == purpose)
        await self._session.execute(delete(OneTimeToken).where(of_user))

    async def withdraw_all(self, user_id: str, *, keep_undo: bool = True) -> None:
        """Withdraw all tokens of a user, of those that undo a change only without `keep_undo`.

        Undo tokens outlive a change of the password or the address, because an intruder may have made it.
        """
        withdrawn = OneTimeToken.user_id == user_id
        if keep_undo:
            withdrawn &= OneTimeToken.purpose != Purpose.UNDO_EMAIL
        await self._session.execute(delete(OneTimeToken).where(withdrawn))

    async def protected_email(self, user_id: str, now: datetime) -> str | None:
        """The address that the user can restore now. All valid undo tokens of a user are for one.

        None without any, and if another account has the address or may restore it.
        """
        query = select(OneTimeToken.email).where(
            OneTimeToken.user_id == user_id,
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.expires_at > now,
            _is_free(now),
        )
        email: str | None = await self._session.scalar(query.limit(1))
        return email

    async def is_remembered(self, user_id: str, email: str, now: datetime) -> bool:
        """Whether the user could restore this address not long ago: expired tokens are kept for `RETENTION`.

        Not if another account has it or may restore it.
        """
        query = select(OneTimeToken.user_id).where(
            OneTimeToken.user_id == user_id,
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.email == email,
            _is_free(now),
        )
        return await self._session.scalar(query.limit(1)) is not None

    async def was_confirmed(self, user_id: str, email: str) -> bool:
        """Whether the user could restore this address not long ago, and had confirmed it before the change."""
        query = select(OneTimeToken.user_id).where(
            OneTimeToken.user_id == user_id,
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.email == email,
            OneTimeToken.is_confirmed,
        )
        return await self._session.scalar(query.limit(1)) is not None

    async def is_held(self, email: str, now: datetime, *, except_user_id: str) -> bool:
        """Whether another user may still restore this address, or could a minute ago."""
        query = select(OneTimeToken.user_id).where(
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.email == email,
            OneTimeToken.user_id != except_user_id,
            OneTimeToken.expires_at > now - _HOLD_AFTER_EXPIRY,
        )
        return await self._session.scalar(query.limit(1)) is not None

    async def held(self, email: str, now: datetime) -> OneTimeToken | None:
        """The last token that restores this address, and so holds it for its user."""
        query = select(OneTimeToken).where(
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            OneTimeToken.email == email,
            OneTimeToken.expires_at > now - _HOLD_AFTER_EXPIRY,
        )
        newest: OneTimeToken | None = await self._session.scalar(
            query.order_by(OneTimeToken.expires_at.desc()).limit(1)
        )
        return newest

    async def count_older_aliases(self, mailbox: str, user_id: str, limit: int) -> int:
        """How many older accounts have an unconfirmed alias (`ada+anything@…`) of this mailbox, `limit` at most.

        One whose address was changed still has its alias, for as long as it is remembered (`is_remembered`): otherwise
        the number could rise again, to one that younger accounts have had.
        """
        local, _, domain = mailbox.rpartition("@")

        def is_alias(email: InstrumentedAttribute[str]) -> ColumnElement[bool]:
            return email.startswith(f"{local}+", autoescape=True) & email.endswith(f"@{domain}", autoescape=True)

        present = select(User.id).where(
            is_alias(User.email),
            User.id < user_id,
            Credential.user_id == User.id,
            Credential.email_verified_at.is_(None),
        )
        former = select(OneTimeToken.user_id).where(
            OneTimeToken.purpose == Purpose.UNDO_EMAIL,
            is_alias(OneTimeToken.email),
            OneTimeToken.user_id < user_id,
            ~OneTimeToken.is_confirmed,
        )
        return len((await self._session.scalars(present.union(former).limit(limit))).all())

    async def list_valid(self, user_id: str, now: datetime) -> Sequence[OneTimeToken]:
        valid = (OneTimeToken.user_id == user_id) & (OneTimeToken.expires_at > now)
        return (await self._session.scalars(select(OneTimeToken).where(valid))).all()


def _is_free(now: datetime) -> ColumnElement[bool]:
    """No other account has the address of the token, or may restore it."""
    other = aliased(OneTimeToken)
    is_taken = exists().where(User.email == OneTimeToken.email, User.id != OneTimeToken.user_id)
    is_held = exists().where(
        other.purpose == Purpose.UNDO_EMAIL,
        other.email == OneTimeToken.email,
        other.user_id != OneTimeToken.user_id,
        other.expires_at > now - _HOLD_AFTER_EXPIRY,
    )
    return ~is_taken & ~is_held
