"""Rules of the login.

All outcomes do the same work in the same order, so that neither the response nor its duration reveals whether an
account exists or is active (OWASP Authentication Cheat Sheet).
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.limits.slow_lane import SlowLane
from auth_service.login.problems import EmailNotVerified, InvalidCredentials
from auth_service.login.schemas import Login
from auth_service.metrics import AuthMetrics
from auth_service.passwords.hashing import PasswordHasher
from auth_service.sessions.schemas import Tokens
from auth_service.sessions.service import SessionService
from auth_service.users.models import User
from auth_service.users.repository import UserRepository
from service_kit.problems import TooManyRequests
from service_kit.rate_limit import ReportRateLimit


@dataclass(frozen=True)
class LoginService:
    database: AnonymousDatabase
    hasher: PasswordHasher
    sessions: SessionService
    limiter: AttemptLimiter
    limits: Limits
    slow_lane: SlowLane
    audit: AuditTrail
    clock: Clock
    metrics: AuthMetrics
    require_verified_email: bool

    async def log_in(self, credentials: Login, client: ClientInfo, report: ReportRateLimit) -> Tokens:
        """Begin a session if the password is correct. `report` gets the nearest limit in either case.

        Raises `TooManyRequests`, `InvalidCredentials`, `EmailNotVerified`.
        """
        address = Subject(self.limits.login_address, client.network)
        async with self.database.reading(client) as session:
            found = await UserRepository(session).get_by_login(credentials.login)
            account = self.limits.guesses(found.id) if found else self.limits.guesses_of_unknown(credentials.login)
            counted = [account, address]
            snapshot = await self.limiter.snapshot(session, counted, self.limits.login_overall)
        # The account does not matter: a different order would reveal whether it exists.
        rank = self.limiter.recent(snapshot, address)
        with contextlib.ExitStack() as attempt:
            try:
                limit = self.limiter.check(snapshot, counted)
                is_taken = limit is None
                attempt.enter_context(self.limiter.pending(counted, is_taken=is_taken))
                if limit is None:
                    async with self.database.transaction(client) as session:
                        limit = await self.limiter.take(session, counted)
                if rank and snapshot.is_used_up:
                    await self.slow_lane.wait(rank)
            except TooManyRequests:
                self.metrics.count_login("throttled")
                raise
            report(limit)
            verified_hash = found.credential.password_hash if found else None
            is_correct = await self.hasher.verify(credentials.password, verified_hash, rank=rank)
            newer_hash = await self._rehashed(credentials.password, verified_hash, rank) if is_correct else None
            async with self.database.transaction(client) as session:
                # The account may have been deactivated, deleted or given another password in the meantime.
                user = await UserRepository(session).lock(found.id if found else "")
                is_correct = is_correct and user is not None and user.credential.password_hash == verified_hash
                if user is None or not is_correct or not user.is_active:
                    if not is_taken:
                        await self.limiter.record_allowed(session, *counted)
                    await self._record_failure(session, user, client, counted, is_correct=is_correct)
                    await self.limiter.spend(session, self.limits.login_overall)
                    raise InvalidCredentials
                if is_taken:
                    await self.limiter.refund(session, account=account, address=address)
                elif account.hash in snapshot.states:
                    await self.limiter.reset(session, account)
                if self.require_verified_email and not user.email_verified:
                    self.metrics.count_login("unverified")
                    reason = "email-not-verified"
                    await self.audit.record(session, Event.LOGIN_FAIL, client, user_id=user.id, reason=reason)
                    raise EmailNotVerified
                if newer_hash:
                    user.credential.password_hash = newer_hash
                remember_me, event = credentials.remember_me, Event.LOGIN_SUCCESS
                tokens = await self.sessions.start(session, user, client, event=event, remember_me=remember_me)
        self.metrics.count_login("succeeded")
        return tokens

    async def _rehashed(self, password: str, password_hash: str | None, rank: int) -> str | None:
        """A hash with the current parameters, if the present one has others."""
        outdated = password_hash is not None and self.hasher.is_outdated(password_hash)
        return await self.hasher.hash(password, rank=rank) if outdated else None

    async def _record_failure(
        self,
        session: AsyncSession,
        user: User | None,
        client: ClientInfo,
        counted: Sequence[Subject],
        *,
        is_correct: bool,
    ) -> None:
        self.metrics.count_login("failed")
        reason = "unknown-login" if user is None else "inactive" if is_correct else "wrong-password"
        user_id = user.id if user else None
        await self.audit.record(session, Event.LOGIN_FAIL, client, user_id=user_id, anonymous=True, reason=reason)
        for limit in await self.limiter.blocked(session, *counted):
            await self.audit.record(
                session,
                Event.LOGIN_LOCK,
                client,
                user_id=user_id,
                anonymous=True,
                limit=limit.policy,
                seconds=limit.reset_seconds,
            )
