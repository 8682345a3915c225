"""Storage of refresh tokens."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.sessions.models import RefreshToken


class RefreshTokenRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def create(self, token: RefreshToken) -> None:
        self._session.add(token)

    async def get_by_hash(self, token_hash: bytes) -> RefreshToken | None:
        """The token, locked until the transaction ends: of concurrent refreshes, one goes first."""
        query = select(RefreshToken).where(RefreshToken.token_hash == token_hash).with_for_update()
        token: RefreshToken | None = await self._session.scalar(query)
        return token

    async def revoke_family(self, family: str, moment: datetime) -> None:
        live = (RefreshToken.family == family) & RefreshToken.revoked_at.is_(None)
        await self._session.execute(update(RefreshToken).where(live).values(revoked_at=moment))
