"""Rules of sessions: who gets tokens, and for what."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from auth_service.accounts.models import User
from auth_service.accounts.repository import AccountRepository
from auth_service.database import new_id, now
from auth_service.passwords import PasswordHasher
from auth_service.sessions.models import RefreshToken
from auth_service.sessions.problems import InvalidCredentials, InvalidRefreshToken, RefreshTokenReused
from auth_service.sessions.repository import RefreshTokenRepository
from auth_service.sessions.schemas import Login, Tokens
from auth_service.sessions.tokens import AccessTokenIssuer, new_refresh_token, refresh_token_hash

log = structlog.get_logger(__name__)

SESSION_LIFETIME = timedelta(hours=12)
REMEMBERED_SESSION_LIFETIME = timedelta(days=30)


@dataclass(frozen=True)
class SessionService:
    accounts: AccountRepository
    refresh_tokens: RefreshTokenRepository
    passwords: PasswordHasher
    access_tokens: AccessTokenIssuer

    async def log_in(self, credentials: Login) -> Tokens:
        """Raises `InvalidCredentials`, after the same work for an unknown user, a wrong password, an inactive one."""
        found = await self.accounts.get_with_hash(credentials.login)
        user, password_hash = found or (None, None)
        correct = await self.passwords.verify(credentials.password, password_hash)
        if user is None or not correct or not user.is_active:
            raise InvalidCredentials
        return self.start(user, REMEMBERED_SESSION_LIFETIME if credentials.remember_me else SESSION_LIFETIME)

    def start(self, user: User, lifetime: timedelta = SESSION_LIFETIME) -> Tokens:
        """Begin a session: a new family with its first refresh token."""
        moment = now()
        return self._issue(user, new_id(), moment, moment + lifetime)

    async def refresh(self, refresh_token: str) -> Tokens | RefreshTokenReused:
        """Exchange a refresh token for its successor. The family's expiry is absolute.

        A spent token ends the whole family (RFC 9700 §4.14.2). That is returned, not raised, so that the
        revocation is committed with the transaction. Raises `InvalidRefreshToken`.
        """
        moment = now()
        token = await self.refresh_tokens.get_by_hash(refresh_token_hash(refresh_token))
        if token is None or token.revoked_at or token.expires_at <= moment:
            raise InvalidRefreshToken
        if token.spent_at:
            await self.refresh_tokens.revoke_family(token.family, moment)
            log.warning("refresh token reused", user_id=token.user_id, family=token.family)
            return RefreshTokenReused()
        user = await self.accounts.get_by_id(token.user_id)
        if user is None or not user.is_active:
            raise InvalidRefreshToken
        token.spent_at = moment
        return self._issue(user, token.family, moment, token.expires_at)

    async def log_out(self, refresh_token: str) -> None:
        """End the session of this refresh token; an unknown one has ended already."""
        token = await self.refresh_tokens.get_by_hash(refresh_token_hash(refresh_token))
        if token is not None:
            await self.refresh_tokens.revoke_family(token.family, now())

    def _issue(self, user: User, family: str, moment: datetime, expires_at: datetime) -> Tokens:
        refresh_token = new_refresh_token()
        self.refresh_tokens.create(
            RefreshToken(
                family=family,
                user_id=user.id,
                token_hash=refresh_token_hash(refresh_token),
                created_at=moment,
                expires_at=expires_at,
            )
        )
        return Tokens(
            access_token=self.access_tokens.issue(user, family, moment),
            refresh_token=refresh_token,
            expires_in=int(self.access_tokens.lifetime.total_seconds()),
        )
