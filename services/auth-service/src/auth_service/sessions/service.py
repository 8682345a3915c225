"""Rules of sessions: begin, refresh and end."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.metrics import AuthMetrics
from auth_service.opaque_tokens import token_hash
from auth_service.sessions.access_tokens import AccessTokenIssuer, scope_of
from auth_service.sessions.models import Session
from auth_service.sessions.problems import InvalidRefreshToken, RefreshTokenReused, SessionNotFound
from auth_service.sessions.refresh_tokens import (
    family_of,
    new_family,
    new_refresh_token,
    seal_successor,
    unseal_successor,
)
from auth_service.sessions.repository import SessionRepository
from auth_service.sessions.schemas import Tokens
from auth_service.users.models import User
from auth_service.users.repository import UserRepository
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import RateLimit
from service_kit.tokens import MAX_TOKEN_SECONDS

# So many ids fit into the column `users.ended_sessions`.
_MAX_ENDED_SESSIONS = 100
# Surplus sessions that one login ends. A lower setting takes effect step by step.
_MAX_SURPLUS = 50


@dataclass(frozen=True)
class SessionLifetimes:
    """How long a session lasts from its login, and with `remember_me`.

    A client that lost the response of a refresh may repeat the request within `refresh_grace`.
    """

    session: timedelta
    remembered: timedelta
    refresh_grace: timedelta


@dataclass(frozen=True)
class Refreshed:
    """`remembered_for` is the remaining time of the session; None if it began without `remember_me`."""

    tokens: Tokens
    remembered_for: timedelta | None


@dataclass(frozen=True)
class SessionLimits:
    """An account has at most `open_sessions`, and begins at most `logins` of them with one password in a `window`.

    A session has at most `refreshes` in a window of an access token's lifetime, which the first of them opens; up to
    twice as many around its end.
    """

    open_sessions: int
    logins: int
    refreshes: int
    window: timedelta = timedelta(minutes=15)


def _exceeded(policy: str, quota: int, window: timedelta, first: datetime, now: datetime) -> RateLimit:
    """`first` is when the first of the attempts in the window happened."""
    wait = max(1, math.ceil((first + window - now).total_seconds()))
    return RateLimit(policy, quota, int(window.total_seconds()), 0, wait)


@dataclass(frozen=True)
class SessionService:
    database: Database
    anonymous: AnonymousDatabase
    access_tokens: AccessTokenIssuer
    lifetimes: SessionLifetimes
    limits: SessionLimits
    audit: AuditTrail
    clock: Clock
    metrics: AuthMetrics

    async def start(
        self,
        session: AsyncSession,
        user: User,
        client: ClientInfo,
        *,
        event: Event = Event.SESSION_CREATED,
        remember_me: bool = False,
    ) -> Tokens:
        """Begin a session of a locked or new user in the caller's transaction. The audit trail records it as `event`.

        The least recently used sessions end if there are too many. Raises `TooManyRequests`.
        """
        await self._make_room(session, user, client)
        sessions, now, token = SessionRepository(session), self.clock(), new_refresh_token(new_family())
        lifetime = self.lifetimes.remembered if remember_me else self.lifetimes.session
        session_id = await sessions.create(
            user.id,
            client,
            refresh_token=token,
            begun_at=now,
            expires_at=now + lifetime,
            is_remembered=remember_me,
        )
        await self.audit.record(session, event, client, user_id=user.id, session_id=session_id)
        return self._tokens(user, session_id, token, now, lifetime)

    async def refresh(self, refresh_token: str, client: ClientInfo) -> Refreshed:
        """Exchange a refresh token for its successor.

        A repeated request within the grace period gets the same successor, unless the successor was used, because then
        the response was not lost. It writes nothing: repetitions have no limit. Any other token of the family ends the
        session, however old it is. Raises `InvalidRefreshToken`, `RefreshTokenReused`, `TooManyRequests`.
        """
        async with self.anonymous.transaction(client) as session:
            sessions = SessionRepository(session)
            # With the user locked, concurrent refreshes run one by one, and none issues a token that is dated after a
            # revocation which it has not seen.
            owner = await sessions.owner_of_refresh_token(refresh_token)
            user = await UserRepository(session).lock(owner) if owner else None
            current = await sessions.get_by_refresh_token(refresh_token) if user else None
            now = self.clock()
            is_live = current is not None and current.ended_at is None and now < current.expires_at
            if user is None or current is None or not is_live or not user.is_active:
                self.metrics.count_refresh("invalid")
                raise InvalidRefreshToken
            if current.token_hash == token_hash(refresh_token):
                successor = await self._rotate(sessions, current, refresh_token, now)
                current.last_used_at = now
                current.address = client.address
            elif repeated := self._lost_successor(current, refresh_token, now):
                successor = repeated
            else:
                current.ended_at = now
                await self._revoke_ended(session, user)
                await self.audit.record(
                    session, Event.TOKEN_REUSE, client, user_id=user.id, anonymous=True, session_id=current.id
                )
                self.metrics.count_refresh("reused")
                raise RefreshTokenReused
        self.metrics.count_refresh("renewed")
        left = current.expires_at - now
        tokens = self._tokens(user, current.id, successor, now, left)
        return Refreshed(tokens, remembered_for=left if current.is_remembered else None)

    async def _rotate(self, sessions: SessionRepository, current: Session, refresh_token: str, now: datetime) -> str:
        """Exchange the current token of a session. Returns the new one. Raises `TooManyRequests`."""
        self._limit_refreshes(current, now)
        family = family_of(refresh_token)
        if family is None:
            await sessions.spend_stored(current, now)
            family = new_family()
        successor = new_refresh_token(family)
        current.family_hash = token_hash(family)
        current.previous_token_hash, current.token_hash = current.token_hash, token_hash(successor)
        current.sealed_token, current.rotated_at = seal_successor(refresh_token, successor), now
        return successor

    def _limit_refreshes(self, current: Session, now: datetime) -> None:
        """Count a refresh. Raises `TooManyRequests`."""
        window = self.access_tokens.lifetime
        if current.refreshes_from is None or current.refreshes_from + window <= now:
            current.refreshes, current.refreshes_from = 0, now
        if current.refreshes >= self.limits.refreshes:
            self.metrics.count_refresh("throttled")
            raise TooManyRequests(
                _exceeded("refreshes-session", self.limits.refreshes, window, current.refreshes_from, now)
            )
        current.refreshes += 1

    def _lost_successor(self, current: Session, refresh_token: str, now: datetime) -> str | None:
        is_previous = current.previous_token_hash == token_hash(refresh_token)
        if (
            not is_previous
            or current.sealed_token is None
            or current.rotated_at is None
            or now > current.rotated_at + self.lifetimes.refresh_grace
        ):
            return None
        return unseal_successor(refresh_token, current.sealed_token)

    async def end_by_refresh_token(self, refresh_token: str, client: ClientInfo) -> None:
        """End the session of this refresh token, which may be an old one. An unknown token is ignored."""
        async with self.anonymous.transaction(client) as session:
            sessions = SessionRepository(session)
            owner = await sessions.owner_of_refresh_token(refresh_token)
            user = await UserRepository(session).lock(owner) if owner else None
            found = await sessions.get_by_refresh_token(refresh_token) if user else None
            if user is not None and found is not None and found.ended_at is None:
                found.ended_at = self.clock()
                await self._revoke_ended(session, user)
                await self._record_end(session, client, user.id, found.id)

    async def end(self, session_id: str, user_id: str, client: ClientInfo) -> None:
        """End one session of this user. Raises `SessionNotFound`."""
        async with self.database.transaction(user_id) as session:
            user = await UserRepository(session).lock(user_id)
            if user is None or not await SessionRepository(session).end(session_id, user_id, self.clock()):
                raise SessionNotFound
            await self._revoke_ended(session, user)
            await self._record_end(session, client, user_id, session_id)

    async def end_all(self, user_id: str, client: ClientInfo) -> None:
        """End all sessions of this user, and revoke all access tokens in every service."""
        async with self.database.transaction(user_id) as session:
            user = await UserRepository(session).lock(user_id)
            if user is not None:
                await self.revoke(session, user)
                await self.audit.record(
                    session, Event.TOKEN_REVOKED, client, user_id=user_id, reason="logged-out-everywhere"
                )

    async def revoke(self, session: AsyncSession, user: User, *, except_id: str | None = None) -> None:
        """End the sessions of a locked user, except one, and revoke all access tokens."""
        now = self.clock()
        await SessionRepository(session).end_all(user.id, now, except_id=except_id)
        user.tokens_valid_after = now
        user.ended_sessions = None

    async def _make_room(self, session: AsyncSession, user: User, client: ClientInfo) -> None:
        """End sessions so that one more is not too many. Raises `TooManyRequests` after too many logins."""
        sessions, now, limits = SessionRepository(session), self.clock(), self.limits
        # A thief who knew the password before must not hinder the owner.
        since = max(now - limits.window, user.credential.password_changed_at or user.created_at)
        count, first = await sessions.begun_since(user.id, since)
        if first is not None and count >= limits.logins:
            self.metrics.count_login("throttled")
            raise TooManyRequests(_exceeded("logins-account", limits.logins, limits.window, first, now))
        surplus = await sessions.list_live(user.id, now, limit=_MAX_SURPLUS, offset=limits.open_sessions - 1)
        if not surplus:
            return
        for each in surplus:
            each.ended_at = now
            await self._record_end(session, client, user.id, each.id, reason="too-many-sessions")
        # The access tokens of the others have expired.
        if surplus[0].last_used_at > now - self.access_tokens.lifetime:
            await self._revoke_ended(session, user)

    async def _revoke_ended(self, session: AsyncSession, user: User) -> None:
        """Revoke the access tokens of a locked user's sessions that have ended, in every service.

        If they are very many, all access tokens are revoked; the other sessions renew theirs.
        """
        await session.flush()
        now = self.clock()
        since = now - timedelta(seconds=MAX_TOKEN_SECONDS)
        if user.tokens_valid_after is not None:
            since = max(since, user.tokens_valid_after)
        ended = await SessionRepository(session).ended_after(user.id, since)
        if len(ended) > _MAX_ENDED_SESSIONS:
            user.tokens_valid_after = now
            ended = []
        user.ended_sessions = " ".join(ended) or None

    async def _record_end(
        self,
        session: AsyncSession,
        client: ClientInfo,
        user_id: str,
        session_id: str,
        *,
        reason: str = "session-ended",
    ) -> None:
        await self.audit.record(
            session, Event.TOKEN_REVOKED, client, user_id=user_id, session_id=session_id, reason=reason
        )

    def _tokens(self, user: User, session_id: str, refresh_token: str, now: datetime, left: timedelta) -> Tokens:
        """`left` is the remaining time of the session, which no access token outlives."""
        lifetime = min(self.access_tokens.lifetime, left)
        return Tokens(
            access_token=self.access_tokens.issue(user, session_id, now, lifetime),
            refresh_token=refresh_token,
            expires_in=int(lifetime.total_seconds()),
            scope=scope_of(user),
        )
