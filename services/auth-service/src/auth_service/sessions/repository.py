"""Storage of sessions and refresh tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.client_info import ClientInfo
from auth_service.database import new_id, rows_affected, table_of
from auth_service.sessions.models import RefreshToken, Session
from auth_service.users.models import User

_INSERT_SESSION = insert(table_of(Session))
_INSERT_REFRESH_TOKEN = insert(table_of(RefreshToken))


class SessionRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(
        self, user_id: str, client: ClientInfo, *, begun_at: datetime, expires_at: datetime, is_remembered: bool
    ) -> str:
        """Store a new session. Returns its id."""
        session_id = new_id()
        await self._session.execute(
            _INSERT_SESSION,
            {
                "id": session_id,
                "user_id": user_id,
                "client": client.user_agent,
                "address": client.address,
                "created_at": begun_at,
                "last_used_at": begun_at,
                "expires_at": expires_at,
                "is_remembered": is_remembered,
            },
        )
        return session_id

    async def owner_of_refresh_token(self, token_hash: bytes) -> str | None:
        """The id of the user to whom the token was issued."""
        query = select(Session.user_id).join(RefreshToken).where(RefreshToken.token_hash == token_hash)
        user_id: str | None = await self._session.scalar(query)
        return user_id

    async def get_by_refresh_token(self, token_hash: bytes) -> tuple[RefreshToken, Session] | None:
        query = select(RefreshToken, Session).join(Session).where(RefreshToken.token_hash == token_hash)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row[0], row[1])

    async def get_with_user(self, session_id: str, user_id: str) -> User | None:
        """The user of a session, unless the session was ended."""
        query = (
            select(User)
            .join(Session, Session.user_id == User.id)
            .where(Session.id == session_id, User.id == user_id, Session.ended_at.is_(None))
        )
        user: User | None = await self._session.scalar(query)
        return user

    async def list_live(
        self, user_id: str, now: datetime, *, limit: int, after: tuple[datetime, str] | None = None, offset: int = 0
    ) -> Sequence[Session]:
        """Most recently used first. `after` is `last_used_at` and `id` of the last one of the previous page."""
        live = (Session.user_id == user_id) & Session.ended_at.is_(None) & (Session.expires_at > now)
        if after is not None:
            live &= tuple_(Session.last_used_at, Session.id) < after
        query = select(Session).where(live).order_by(Session.last_used_at.desc(), Session.id.desc())
        return (await self._session.scalars(query.limit(limit).offset(offset))).all()

    async def begun_since(self, user_id: str, moment: datetime) -> tuple[int, datetime | None]:
        """How many sessions of this user began after a moment, including ended ones, and when the first of them did."""
        begun = (Session.user_id == user_id) & (Session.created_at > moment)
        row = await self._session.execute(select(func.count(), func.min(Session.created_at)).where(begun))
        count, first = row.one()
        return count, first

    async def list_after(self, user_id: str, after_id: str, limit: int) -> Sequence[Session]:
        """Sessions, including ended ones, oldest first."""
        query = select(Session).where(Session.user_id == user_id, Session.id > after_id)
        return (await self._session.scalars(query.order_by(Session.id).limit(limit))).all()

    async def end(self, session_id: str, user_id: str, now: datetime) -> bool:
        """End one session of this user. Returns whether it was live."""
        live = (Session.id == session_id) & (Session.user_id == user_id) & Session.ended_at.is_(None)
        return await rows_affected(self._session, update(Session).where(live).values(ended_at=now)) == 1

    async def end_all(self, user_id: str, now: datetime, *, except_id: str | None = None) -> None:
        """End all sessions of this user, except one."""
        live = (Session.user_id == user_id) & Session.ended_at.is_(None)
        if except_id is not None:
            live &= Session.id != except_id
        await self._session.execute(update(Session).where(live).values(ended_at=now))

    async def ended_after(self, user_id: str, moment: datetime) -> Sequence[str]:
        """The ids of this user's sessions that ended after a moment."""
        ended = (Session.user_id == user_id) & (Session.ended_at > moment)
        return (await self._session.scalars(select(Session.id).where(ended).order_by(Session.ended_at))).all()

    async def is_spent(self, token_hash: bytes) -> bool:
        query = select(RefreshToken.spent_at).where(RefreshToken.token_hash == token_hash)
        return await self._session.scalar(query) is not None

    async def refreshed_since(self, session_id: str, moment: datetime) -> tuple[int, datetime | None]:
        """How many refresh tokens of a session were exchanged after a moment, and when the first of them was."""
        # A successor is issued when its predecessor is exchanged. The token of the login has none.
        issued = (RefreshToken.session_id == session_id) & (RefreshToken.created_at > moment)
        begun = select(Session.created_at).where(Session.id == session_id).scalar_subquery()
        issued &= RefreshToken.created_at > begun
        row = await self._session.execute(select(func.count(), func.min(RefreshToken.created_at)).where(issued))
        count, first = row.one()
        return count, first

    async def add_refresh_token(self, token_hash: bytes, session_id: str, created_at: datetime) -> None:
        values = {"token_hash": token_hash, "session_id": session_id, "created_at": created_at}
        await self._session.execute(_INSERT_REFRESH_TOKEN, values)
