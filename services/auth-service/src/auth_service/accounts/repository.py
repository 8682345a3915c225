"""Storage of accounts."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Credential, User
from auth_service.accounts.problems import EmailTaken, UsernameTaken

_DUPLICATE_ENTRY = 1062


class AccountRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, user: User, password_hash: str) -> None:
        """Store an account. Raises `UsernameTaken` or `EmailTaken`; the unique indexes decide, so races are safe."""
        self._session.add(user)
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise _taken(error) from error
        self._session.add(Credential(user_id=user.id, password_hash=password_hash))

    async def get_by_id(self, user_id: str) -> User | None:
        return await self._session.get(User, user_id)

    async def get_with_hash(self, login: str) -> tuple[User, str] | None:
        """The account with this username or email, and its password hash. Usernames have no `@`."""
        column = User.email if "@" in login else User.username
        query = select(User, Credential.password_hash).join(Credential).where(column == login)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row[0], row[1])


def _taken(error: IntegrityError) -> Exception:
    code, message = error.orig.args if error.orig else (None, "")
    if code != _DUPLICATE_ENTRY:
        return error
    return EmailTaken() if "email" in message.rpartition(" for key ")[2] else UsernameTaken()
