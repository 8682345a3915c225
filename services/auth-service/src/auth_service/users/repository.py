"""Storage of accounts."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import collate, delete, or_, select
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import table_of
from auth_service.users.addresses import canonical_address
from auth_service.users.models import HeldUsername, User
from auth_service.users.problems import EmailTaken, UsernameTaken
from service_kit.roles import Role

_DUPLICATE_ENTRY = 1062


class UserRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, user: User) -> None:
        """Store an account. Unique indexes prevent races. Raises `UsernameTaken` or `EmailTaken`."""
        self._session.add(user)
        await self.flush()

    async def flush(self) -> None:
        """Send the changes to MySQL. Raises `UsernameTaken` or `EmailTaken`."""
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise _taken(error) from error

    async def get_by_id(self, user_id: str) -> User | None:
        return await self._session.get(User, user_id)

    async def lock(self, user_id: str) -> User | None:
        """Read the latest state of an account and lock it until the transaction ends."""
        query = select(User).where(User.id == user_id).with_for_update().execution_options(populate_existing=True)
        user: User | None = await self._session.scalar(query)
        return user

    async def get_by_username(self, username: str) -> User | None:
        """The collation ignores accents. A look-up must match them: no account can be tried under many names."""
        user: User | None = await self._session.scalar(select(User).where(User.username == username))
        return user if user is not None and user.username.casefold() == username.casefold() else None

    async def get_by_email(self, email: str) -> User | None:
        """`email` has its canonical form."""
        user: User | None = await self._session.scalar(select(User).where(User.email == email))
        return user

    async def get_by_login(self, login: str) -> User | None:
        """The account with this username or email. A username contains no `@`."""
        email = canonical_address(login)
        return await (self.get_by_email(email) if "@" in email else self.get_by_username(login))

    async def list_newest(
        self, *, query: str | None, role: Role | None, is_active: bool | None, before_id: str | None, limit: int
    ) -> Sequence[User]:
        """Newest first. `query` is a prefix of a username, a name or an email address, without regard to accents."""
        found = select(User).order_by(User.id.desc()).limit(limit)
        if query is not None:
            columns = (User.username, User.name, collate(User.email, "utf8mb4_0900_ai_ci"))
            found = found.where(or_(*(column.startswith(query, autoescape=True) for column in columns)))
        if role is not None:
            found = found.where(User.role == role)
        if is_active is not None:
            found = found.where(User.is_active == is_active)
        if before_id is not None:
            found = found.where(User.id < before_id)
        return (await self._session.scalars(found)).all()

    async def lock_active_admins(self) -> set[str]:
        """Ids of all active admins, locked until the transaction ends, so that no other transaction removes one.

        Call this only if one of them is to be removed, as it blocks their logins, and before any single user is locked:
        two admins who demote each other would deadlock.
        """
        query = select(User.id).where(User.role == Role.ADMIN, User.is_active).with_for_update()
        return set(await self._session.scalars(query))

    async def delete(self, user: User) -> None:
        await self._session.delete(user)
        await self._session.flush()


class HeldUsernameRepository:
    """Usernames that accounts gave up. `username` is compared as in `users`, without regard to case."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def is_held(self, username: str, now: datetime, *, except_user_id: str | None = None) -> bool:
        """Whether the username is held for an account other than this one."""
        query = select(HeldUsername.user_id).where(HeldUsername.username == username, HeldUsername.held_until > now)
        return await self._session.scalar(query) not in (None, except_user_id)

    async def list_of(self, user_id: str, now: datetime) -> Sequence[HeldUsername]:
        """The names that are held for this account, sorted by their end."""
        query = select(HeldUsername).where(HeldUsername.user_id == user_id, HeldUsername.held_until > now)
        return (await self._session.scalars(query.order_by(HeldUsername.held_until))).all()

    async def hold(self, username: str, user_id: str, until: datetime) -> None:
        row = insert(table_of(HeldUsername)).values(username=username, user_id=user_id, held_until=until)
        await self._session.execute(
            row.on_duplicate_key_update(user_id=row.inserted.user_id, held_until=row.inserted.held_until)
        )

    async def release(self, username: str) -> None:
        await self._session.execute(delete(HeldUsername).where(HeldUsername.username == username))


def _taken(error: IntegrityError) -> Exception:
    code, message = error.orig.args if error.orig else (None, "")
    if code != _DUPLICATE_ENTRY:
        return error
    return EmailTaken() if "email" in message.rpartition(" for key ")[2] else UsernameTaken()
