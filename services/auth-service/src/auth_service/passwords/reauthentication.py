"""Asks for the current password again before a sensitive action, so that a stolen access token is not enough for it."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Database
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter
from auth_service.passwords.hashing import PasswordHasher
from auth_service.passwords.problems import ReauthenticationRequired
from auth_service.users.models import User
from auth_service.users.repository import UserRepository
from service_kit.problems import Problem
from service_kit.tokens import InvalidToken


@dataclass(frozen=True)
class Reauthenticator:
    """`verify` before the action, then `accept` or `accept_from` in the transaction of the action."""

    database: Database
    hasher: PasswordHasher
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail

    async def verify(
        self,
        user: User,
        password: str | None,
        client: ClientInfo,
        *,
        wrong: type[Problem] = ReauthenticationRequired,
        event: Event = Event.LOGIN_FAIL,
    ) -> str:
        """Check the password of a logged-in user. Returns the hash that it matches, for `accept`.

        Raises `ReauthenticationRequired` without a password, `wrong` for another one, and `TooManyRequests`: a stolen
        token must not allow any number of guesses.
        """
        if not password:
            raise ReauthenticationRequired
        if user.credential.is_password_reset_due:
            raise ReauthenticationRequired(
                "Your email address was restored. Choose a new password first, with a mail to that address."
            )
        async with self.database.transaction(user.id) as session:
            limit = await self.limiter.take(session, [self.limits.guesses_with_token(user.id)])
        verified_hash = user.credential.password_hash
        if not await self.hasher.verify(password, verified_hash, rank=limit.used - 1):
            async with self.database.transaction(user.id) as session:
                await self.audit.record(session, event, client, user_id=user.id, reason="reauthentication-failed")
            raise wrong()
        return verified_hash

    async def accept(self, session: AsyncSession, user: User, verified_hash: str) -> None:
        """Confirm that the locked user still has the verified password. Raises `ReauthenticationRequired`."""
        if user.credential.password_hash != verified_hash or user.credential.is_password_reset_due:
            raise ReauthenticationRequired
        await self.limiter.reset(session, self.limits.guesses_with_token(user.id))

    async def accept_from(self, session: AsyncSession, actor: User, verified_hash: str) -> None:
        """Lock the user who acts on another account, and `accept`. Raises `InvalidToken` if the role has changed.

        Call this before another account is inserted or locked, but after `lock_active_admins`: this prevents deadlocks.
        """
        locked = await UserRepository(session).lock(actor.id)
        if locked is None or not locked.is_active or locked.role != actor.role:
            raise InvalidToken
        await self.accept(session, locked, verified_hash)
