"""Storage of signing keys."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.keys.models import SigningKey


class SigningKeyRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> Sequence[SigningKey]:
        """Sorted by `signs_from`."""
        query = select(SigningKey).order_by(SigningKey.signs_from, SigningKey.created_at, SigningKey.kid)
        return (await self._session.scalars(query)).all()

    def create(self, key: SigningKey) -> None:
        self._session.add(key)

    async def delete(self, kids: Sequence[str]) -> None:
        if kids:
            await self._session.execute(delete(SigningKey).where(SigningKey.kid.in_(kids)))
