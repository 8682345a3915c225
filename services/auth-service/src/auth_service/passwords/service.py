"""Rules of changing and resetting a password."""

from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.limits.policies import Limits, of_mailbox
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.messages import MailKind
from auth_service.one_time_tokens.models import Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.outbox.service import Outbox
from auth_service.passwords.hashing import PasswordHasher
from auth_service.passwords.policy import weakness
from auth_service.passwords.problems import InvalidResetToken, PasswordTooWeak, WrongCurrentPassword
from auth_service.passwords.reauthentication import Reauthenticator
from auth_service.passwords.schemas import PasswordChange, PasswordReset
from auth_service.sessions.service import SessionService
from auth_service.users.models import User
from auth_service.users.repository import UserRepository
from service_kit.problems import ServiceUnavailable
from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class PasswordService:
    database: Database
    anonymous: AnonymousDatabase
    hasher: PasswordHasher
    reauthenticator: Reauthenticator
    sessions: SessionService
    outbox: Outbox
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def change(self, user: User, session_id: str, change: PasswordChange, client: ClientInfo) -> None:
        """Change a logged-in user's password, and end all other sessions.

        Raises `PasswordTooWeak`, `WrongCurrentPassword`, `ReauthenticationRequired`, `TooManyRequests`.
        """
        self._check(change.new_password, user)
        verified_hash = await self.reauthenticator.verify(
            user, change.current_password, client, wrong=WrongCurrentPassword, event=Event.PASSWORD_CHANGE_FAIL
        )
        async with self.database.transaction(user.id) as session:
            # Each change sends a mail, and costs another hash.
            limit = await self.limiter.take(session, [Subject(self.limits.password_change_account, user.id)])
        new_hash = await self.hasher.hash(change.new_password, rank=limit.used - 1)
        async with self.database.transaction(user.id) as session:
            changed = await UserRepository(session).lock(user.id)
            if changed is None or not changed.is_active:
                raise WrongCurrentPassword  # it was deactivated or deleted in the meantime
            await self.reauthenticator.accept(session, changed, verified_hash)
            await self._set(session, changed, new_hash, client, reason="changed", except_id=session_id)

    async def forget(self, email: str, client: ClientInfo) -> RateLimit:
        """Mail a token to the owner of this address, if an account has it. Raises `TooManyRequests`.

        The account is looked up, and mails to it are limited, after the response (`outbox.writing`), so that neither
        the response nor its duration reveals whether it exists.
        """
        async with self.anonymous.transaction(client) as session:
            limit = await self.limiter.take(session, [Subject(self.limits.mail_address, client.network)])
            await self.outbox.put(session, MailKind.RESET_PASSWORD, email, client=client)
        return limit

    async def reset(self, reset: PasswordReset, client: ClientInfo) -> None:
        """Set a new password with a mailed token, and end all sessions. It does not log the user in.

        A token costs one hash: of concurrent requests with it one continues. Raises `InvalidResetToken`, and
        `PasswordTooWeak` and `ServiceUnavailable`, which do not use up the token.
        """
        tokens, purpose = OneTimeTokenRepository, Purpose.RESET_PASSWORD
        requests = Subject(self.limits.mail_address, client.network)
        async with self.anonymous.reading(client) as session:
            known = await tokens(session).get(purpose, reset.token, self.clock())
            user = await UserRepository(session).get_by_id(known.user_id) if known else None
            # A client that requests many links goes last. The first one is what a reset needs.
            rank = max(self.limiter.recent(await self.limiter.snapshot(session, [requests]), requests) - 1, 0)
        if known is None or user is None or not user.is_active:
            raise InvalidResetToken
        self._check(reset.new_password, user)
        async with self.anonymous.transaction(client) as session:
            claimed_until = await tokens(session).claim(known, self.clock())
            if claimed_until is None:
                raise InvalidResetToken("Another request is using the token.")
        try:
            new_hash = await self.hasher.hash(reset.new_password, rank=rank)
            await self._complete_reset(user.id, reset.token, new_hash, client)
        except (ServiceUnavailable, SQLAlchemyError):
            async with self.anonymous.transaction(client) as session:
                await tokens(session).release(known, claimed_until)
            raise

    async def _complete_reset(self, user_id: str, token: str, new_hash: str, client: ClientInfo) -> None:
        """Use up the claimed token. Raises `InvalidResetToken`."""
        async with self.anonymous.transaction(client) as session:
            changed, tokens = await UserRepository(session).lock(user_id), OneTimeTokenRepository(session)
            used = await tokens.get(Purpose.RESET_PASSWORD, token, self.clock())
            if changed is None or not changed.is_active or used is None or not await tokens.use(used):
                raise InvalidResetToken
            if used.email != changed.email:
                raise InvalidResetToken  # the address was changed while the mail was written
            # The token proves that the user reads mail there.
            changed.credential.email_verified_at = changed.credential.email_verified_at or self.clock()
            changed.credential.is_password_reset_due = False
            limits = self.limits
            # The link is used up, so that the next one must not wait.
            mails = of_mailbox(limits.mail_mailbox, changed.email, is_confirmed=True)
            guesses = limits.guesses(changed.id), limits.guesses_with_token(changed.id)
            await self.limiter.reset(session, *guesses, mails)
            await self._set(session, changed, new_hash, client, reason="reset")

    def _check(self, password: str, user: User) -> None:
        if reason := weakness(password, username=user.username, email=user.email):
            raise PasswordTooWeak(reason, field="new_password")

    async def _set(
        self,
        session: AsyncSession,
        user: User,
        password_hash: str,
        client: ClientInfo,
        *,
        reason: str,
        except_id: str | None = None,
    ) -> None:
        user.credential.password_hash = password_hash
        user.credential.password_changed_at = self.clock()
        # An intruder with the old password may have requested a change of the address.
        user.credential.end_change()
        await OneTimeTokenRepository(session).withdraw_all(user.id)
        await self.sessions.revoke(session, user, except_id=except_id)
        await self.audit.record(session, Event.PASSWORD_CHANGE, client, user_id=user.id, reason=reason)
        kind, is_confirmed = MailKind.PASSWORD_CHANGED_NOTICE, user.email_verified
        await self.outbox.put(session, kind, user.email, user=user, is_confirmed=is_confirmed)
