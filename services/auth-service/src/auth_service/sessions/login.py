"""Rules of logging in.

Every branch does the same work in the same order, so that neither answer nor duration tells an unknown user from a
wrong password or an inactive account (OWASP Authentication Cheat Sheet).
"""

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
from service_kit.rate_limit import TellRateLimit


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

    async def log_in(self, credentials: Login, origin: Origin, tell: TellRateLimit) -> Tokens:
        """Begin a session for who knows the password. `tell` hears of the nearest limit, whatever comes of it.

        Raises `TooManyRequests`, `InvalidCredentials`, `EmailNotVerified`.
        """
        async with self.database.transaction() as session:
            counted = [account_subject(self.limits, credentials.login), self._address(origin)]
            try:
                tell(await self.limiter.take(session, counted, watched=[Subject(self.limits.login_overall)]))
            except TooManyRequests:
                self.metrics.logins.labels("throttled").inc()
                raise
            found = await AccountRepository(session).get_by_login(credentials.login)
        verified_hash = found.credential.password_hash if found else None
        is_correct = await self.passwords.verify(credentials.password, verified_hash)
        newer_hash = await self._rehashed(credentials.password, verified_hash) if is_correct else None
        async with self.database.transaction() as session:
            # Meanwhile the account may have been deactivated, deleted or given another password.
            user = await AccountRepository(session).lock(found.id if found else "")
            is_correct = is_correct and user is not None and user.credential.password_hash == verified_hash
            if user is None or not is_correct or not user.is_active:
                await self._record_failure(session, user, credentials.login, origin, is_correct=is_correct)
                raise InvalidCredentials
            if self.require_verified_email and not user.email_verified:
                self.metrics.logins.labels("unverified").inc()
                self.audit.record(session, Event.LOGIN_FAIL, origin, user_id=user.id, reason="email-not-verified")
                raise EmailNotVerified
            if newer_hash:
                user.credential.password_hash = newer_hash
            account = account_subject(self.limits, credentials.login)
            await self.limiter.succeeded(session, account=account, address=self._address(origin))
            self.audit.record(session, Event.LOGIN_SUCCESS, origin, user_id=user.id)
            tokens = self.sessions.start(session, user, origin, remember_me=credentials.remember_me)
        self.metrics.logins.labels("succeeded").inc()
        return tokens

    async def _rehashed(self, password: str, password_hash: str | None) -> str | None:
        """The password under today's parameters, if its hash was made under others."""
        outdated = password_hash is not None and self.passwords.is_outdated(password_hash)
        return await self.passwords.hash(password) if outdated else None

    async def _record_failure(
        self, session: AsyncSession, user: User | None, login: str, origin: Origin, *, is_correct: bool
    ) -> None:
        self.metrics.logins.labels("failed").inc()
        reason = "unknown-login" if user is None else "inactive" if is_correct else "wrong-password"
        user_id = user.id if user else None
        self.audit.record(session, Event.LOGIN_FAIL, origin, user_id=user_id, anonymous=True, reason=reason)
        await self.limiter.count(session, Subject(self.limits.login_overall))
        for limit in await self.limiter.blocked(session, [account_subject(self.limits, login), self._address(origin)]):
            self.audit.record(
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
