"""Storage of sessions and refresh tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.client_info import ClientInfo
from auth_service.database import new_id, rows_affected, table_of
from auth_service.opaque_tokens import token_hash
from auth_service.sessions.models import Session, StoredRefreshToken
from auth_service.sessions.refresh_tokens import family_of
from auth_service.users.models import User

_INSERT_SESSION = insert(table_of(Session))


class SessionRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(
        self,
        user_id: str,
        client: ClientInfo,
        *,
        refresh_token: str,
        begun_at: datetime,
        expires_at: datetime,
        is_remembered: bool,
    ) -> str:
        """Store a new session with its first refresh token. Returns its id."""
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
                "family_hash": token_hash(family_of(refresh_token) or ""),
                "token_hash": token_hash(refresh_token),
                "refreshes": 0,
            },
        )
        return session_id

    async def owner_of_refresh_token(self, token: str) -> str | None:
        """The id of the user to whom the token was issued."""
        user_id: str | None = await self._session.scalar(select(Session.user_id).where(_has_token(token)))
        return user_id

    async def get_by_refresh_token(self, token: str) -> Session | None:
        """The session of a token, which may be an old or a forged one of the family. Its user must be locked."""
        session: Session | None = await self._session.scalar(select(Session).where(_has_token(token)))
        if session is not None and session.family_hash is None:
            await self._adopt(session)
        return session

    async def _adopt(self, session: Session) -> None:
        """Fill in the tokens of a session that an earlier release began, and may continue until it is stopped."""
        newest = (
            select(StoredRefreshToken)
            .where(StoredRefreshToken.session_id == session.id)
            .order_by(StoredRefreshToken.created_at.desc())
            .limit(2)
        )
        for each in await self._session.scalars(newest):
            if each.spent_at is None:
                session.token_hash = each.token_hash
            elif session.rotated_at is None or session.rotated_at < each.spent_at:
                session.previous_token_hash, session.rotated_at = each.token_hash, each.spent_at
                session.sealed_token = each.sealed_successor

    async def spend_stored(self, session: Session, now: datetime) -> None:
        """Refuse the current token of an adopted session at replicas of the earlier release, too."""
        spent = update(table_of(StoredRefreshToken)).where(StoredRefreshToken.token_hash == session.token_hash)
        await self._session.execute(spent.values(spent_at=now))

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


def _has_token(token: str) -> ColumnElement[bool]:
    """Whether a token of a session is this one, or has its family."""
    family = family_of(token)
    if family is not None:
        return Session.family_hash == token_hash(family)
    stored = select(StoredRefreshToken.session_id).where(StoredRefreshToken.token_hash == token_hash(token))
    return Session.id == stored.scalar_subquery()
