"""Rules of logging in.

Every branch does the same work in the same order, so that neither answer nor duration tells an unknown user from a
wrong password or an inactive account (OWASP Authentication Cheat Sheet).
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import User
from auth_service.accounts.repository import AccountRepository
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.metrics import AuthMetrics
from auth_service.origin import Origin
from auth_service.passwords.hashing import PasswordHasher
from auth_service.sessions.problems import EmailNotVerified, InvalidCredentials
from auth_service.sessions.schemas import Login, Tokens
from auth_service.sessions.service import SessionService
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import ReportRateLimit


def account_subject(limits: Limits, login: str) -> Subject:
    """What somebody tried to log in as, whether there is such an account or not."""
    return Subject(limits.login_account, login.casefold())


@dataclass(frozen=True)
class LoginService:
    database: Database
    passwords: PasswordHasher
    sessions: SessionService
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock
    metrics: AuthMetrics
    require_verified_email: bool

    async def log_in(self, credentials: Login, origin: Origin, tell: ReportRateLimit) -> Tokens:
        """Begin a session for who knows the password. `tell` hears of the nearest limit, whatever comes of it.

        Raises `TooManyRequests`, `InvalidCredentials`, `EmailNotVerified`.
        """
        account, address = account_subject(self.limits, credentials.login), self._address(origin)
        counted, watched = [account, address], [Subject(self.limits.login_overall)]
        async with self.database.reading() as session:
            view = await self.limiter.view(session, [*counted, *watched])
            found = await AccountRepository(session).get_by_login(credentials.login)
        with contextlib.ExitStack() as attempt:
            try:
                limit = self.limiter.look(view, counted, watched)
                is_taken = limit is None
                attempt.enter_context(self.limiter.under_way(counted, is_taken=is_taken))
                if limit is None:
                    async with self.database.transaction() as session:
                        limit = await self.limiter.take(session, counted, watched)
            except TooManyRequests:
                self.metrics.count_login("throttled")
                raise
            tell(limit)
            verified_hash = found.credential.password_hash if found else None
            is_correct = await self.passwords.verify(credentials.password, verified_hash)
            newer_hash = await self._rehashed(credentials.password, verified_hash) if is_correct else None
            async with self.database.transaction() as session:
                # Meanwhile the account may have been deactivated, deleted or given another password.
                user = await AccountRepository(session).lock(found.id if found else "")
                is_correct = is_correct and user is not None and user.credential.password_hash == verified_hash
                if user is None or not is_correct or not user.is_active:
                    await self.limiter.count(session, *watched, *([] if is_taken else counted))
                    await self._record_failure(session, user, origin, counted, is_correct=is_correct)
                    raise InvalidCredentials
                if is_taken:
                    await self.limiter.succeeded(session, account=account, address=address)
                elif account.hash in view.states:
                    await self.limiter.forget(session, account)
                if self.require_verified_email and not user.email_verified:
                    self.metrics.count_login("unverified")
                    reason = "email-not-verified"
                    await self.audit.record(session, Event.LOGIN_FAIL, origin, user_id=user.id, reason=reason)
                    raise EmailNotVerified
                if newer_hash:
                    user.credential.password_hash = newer_hash
                remember_me, event = credentials.remember_me, Event.LOGIN_SUCCESS
                tokens = await self.sessions.start(session, user, origin, event=event, remember_me=remember_me)
        self.metrics.count_login("succeeded")
        return tokens

    async def _rehashed(self, password: str, password_hash: str | None) -> str | None:
        """The password under today's parameters, if its hash was made under others."""
        outdated = password_hash is not None and self.passwords.is_outdated(password_hash)
        return await self.passwords.hash(password) if outdated else None

    async def _record_failure(
        self,
        session: AsyncSession,
        user: User | None,
        origin: Origin,
        counted: Sequence[Subject],
        *,
        is_correct: bool,
    ) -> None:
        self.metrics.count_login("failed")
        reason = "unknown-login" if user is None else "inactive" if is_correct else "wrong-password"
        user_id = user.id if user else None
        await self.audit.record(session, Event.LOGIN_FAIL, origin, user_id=user_id, anonymous=True, reason=reason)
        for limit in await self.limiter.blocked(session, *counted):
            await self.audit.record(
                session,
                Event.LOGIN_LOCK,
                origin,
                user_id=user_id,
                anonymous=True,
                limit=limit.policy,
                seconds=limit.reset_seconds,
            )

    def _address(self, origin: Origin) -> Subject:
        return Subject(self.limits.login_address, origin.network)
