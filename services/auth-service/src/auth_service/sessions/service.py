"""Rules of sessions: they begin, are renewed, and end."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import User
from auth_service.accounts.repository import AccountRepository
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.metrics import AuthMetrics
from auth_service.opaque_tokens import new_token, token_hash
from auth_service.origin import Origin
from auth_service.sessions.access_tokens import AccessTokenIssuer
from auth_service.sessions.models import RefreshToken
from auth_service.sessions.problems import InvalidRefreshToken, RefreshTokenReused, SessionNotFound
from auth_service.sessions.refresh_tokens import seal_successor, unseal_successor
from auth_service.sessions.repository import SessionRepository
from auth_service.sessions.schemas import Tokens

LIFETIME = timedelta(hours=12)
REMEMBERED_LIFETIME = timedelta(days=30)
# A client whose answer was lost may ask again for so long.
GRACE = timedelta(seconds=10)


@dataclass(frozen=True)
class SessionService:
    database: Database
    access_tokens: AccessTokenIssuer
    audit: AuditTrail
    clock: Clock
    metrics: AuthMetrics

    async def start(
        self,
        session: AsyncSession,
        user: User,
        origin: Origin,
        *,
        event: Event = Event.SESSION_CREATED,
        remember_me: bool = False,
    ) -> Tokens:
        """Begin a session, in the caller's transaction; `event` is what the audit trail says of it."""
        sessions, moment, token = SessionRepository(session), self.clock(), new_token()
        expires_at = moment + (REMEMBERED_LIFETIME if remember_me else LIFETIME)
        session_id = await sessions.create(user.id, origin, begun_at=moment, expires_at=expires_at)
        await sessions.add_refresh_token(token_hash(token), session_id, moment)
        await self.audit.record(session, event, origin, user_id=user.id, session_id=session_id)
        return self._tokens(user, session_id, token, moment)

    async def refresh(self, refresh_token: str, origin: Origin) -> Tokens:
        """Exchange a refresh token for its successor.

        Asked again within `GRACE` it gives the same successor, unless that has been used: then the answer was not
        lost. Any other use of a spent token ends the session. Raises `InvalidRefreshToken`, `RefreshTokenReused`.
        """
        presented = token_hash(refresh_token)
        async with self.database.transaction() as session:
            sessions = SessionRepository(session)
            # Whoever begins, renews or ends sessions of a user locks the user first. Of concurrent refreshes one so
            # goes first, and none dates a token behind a revocation that it has not seen.
            owner = await sessions.owner_of_refresh_token(presented)
            user = await AccountRepository(session).lock(owner) if owner else None
            found = await sessions.get_by_refresh_token(presented) if user else None
            moment = self.clock()
            is_live = found is not None and found[1].ended_at is None and moment < found[1].expires_at
            if user is None or found is None or not is_live or not user.is_active:
                self.metrics.count_refresh("invalid")
                raise InvalidRefreshToken
            token, renewed = found
            if token.spent_at is None:
                successor = new_token()
                token.spent_at = moment
                token.sealed_successor = seal_successor(refresh_token, successor)
                await sessions.add_refresh_token(token_hash(successor), renewed.id, moment)
            elif again := await self._lost_successor(sessions, token, refresh_token, moment):
                successor = again
            else:
                renewed.ended_at = moment
                await self.audit.record(
                    session, Event.TOKEN_REUSE, origin, user_id=user.id, anonymous=True, session_id=renewed.id
                )
                self.metrics.count_refresh("reused")
                raise RefreshTokenReused
            renewed.last_used_at = moment
            renewed.address = origin.address
        self.metrics.count_refresh("renewed")
        return self._tokens(user, renewed.id, successor, moment)

    async def _lost_successor(
        self, sessions: SessionRepository, token: RefreshToken, refresh_token: str, moment: datetime
    ) -> str | None:
        if token.spent_at is None or token.sealed_successor is None or moment > token.spent_at + GRACE:
            return None
        successor = unseal_successor(refresh_token, token.sealed_successor)
        return None if await sessions.is_spent(token_hash(successor)) else successor

    async def remembered_for(self, refresh_token: str) -> timedelta | None:
        """How much longer the session of this token lasts, if it is one that is to be remembered."""
        async with self.database.reading() as session:
            found = await SessionRepository(session).get_by_refresh_token(token_hash(refresh_token))
            if found is None or found[1].expires_at - found[1].created_at <= LIFETIME:
                return None
            return found[1].expires_at - self.clock()

    async def end_by_refresh_token(self, refresh_token: str, origin: Origin) -> None:
        """End the session of this refresh token; an unknown one has ended already."""
        async with self.database.transaction() as session:
            found = await SessionRepository(session).get_by_refresh_token(token_hash(refresh_token))
            if found is not None and found[1].ended_at is None:
                ended = found[1]
                ended.ended_at = self.clock()
                await self._record_end(session, origin, ended.user_id, ended.id)

    async def end(self, session_id: str, user_id: str, origin: Origin) -> None:
        """End one of somebody's own sessions. Raises `SessionNotFound`."""
        async with self.database.transaction() as session:
            if not await SessionRepository(session).end(session_id, user_id, self.clock()):
                raise SessionNotFound
            await self._record_end(session, origin, user_id, session_id)

    async def end_all(self, user_id: str, origin: Origin) -> None:
        """End every session of this person, and with them every access token, wherever it is used."""
        async with self.database.transaction() as session:
            user = await AccountRepository(session).lock(user_id)
            if user is not None:
                await self.revoke(session, user)
                await self.audit.record(
                    session, Event.TOKEN_REVOKED, origin, user_id=user_id, reason="logged-out-everywhere"
                )

    async def revoke(self, session: AsyncSession, user: User, *, but: str | None = None) -> None:
        """End the sessions of a locked user, but for one, and refuse every access token issued so far."""
        moment = self.clock()
        await SessionRepository(session).end_all(user.id, moment, but=but)
        user.tokens_valid_after = moment

    async def _record_end(self, session: AsyncSession, origin: Origin, user_id: str, session_id: str) -> None:
        await self.audit.record(
            session, Event.TOKEN_REVOKED, origin, user_id=user_id, session_id=session_id, reason="session-ended"
        )

    def _tokens(self, user: User, session_id: str, refresh_token: str, moment: datetime) -> Tokens:
        return Tokens(
            access_token=self.access_tokens.issue(user, session_id, moment),
            refresh_token=refresh_token,
            expires_in=int(self.access_tokens.lifetime.total_seconds()),
        )
