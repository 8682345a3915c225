"""Rules of changing a password, and of setting a forgotten one anew."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import User
from auth_service.accounts.repository import AccountRepository
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.email_addresses.service import EmailAddressService
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.one_time_tokens import LIFETIMES, OneTimeTokenRepository, Purpose
from auth_service.origin import Origin
from auth_service.passwords.hashing import PasswordHasher
from auth_service.passwords.policy import weakness
from auth_service.passwords.problems import InvalidResetToken, PasswordTooWeak, WrongCurrentPassword
from auth_service.passwords.schemas import PasswordChange, PasswordReset
from auth_service.sessions.login import account_subject
from auth_service.sessions.service import SessionService
from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class PasswordService:
    database: Database
    passwords: PasswordHasher
    sessions: SessionService
    addresses: EmailAddressService
    mailer: Mailer
    mails: MailComposer
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def change(self, user: User, session_id: str, change: PasswordChange, origin: Origin) -> None:
        """Give a logged-in user another password, and end every session but the one that asks.

        Raises `PasswordTooWeak`, `WrongCurrentPassword`, `TooManyRequests`: whoever has stolen a token gets no more
        guesses here than at the login.
        """
        self._check(change.new_password, user)
        attempts = Subject(self.limits.password_account, user.id)
        async with self.database.transaction() as session:
            await self.limiter.take(session, [attempts])
        verified_hash = user.credential.password_hash
        if not await self.passwords.verify(change.current_password, verified_hash):
            async with self.database.transaction() as session:
                await self.audit.record(session, Event.PASSWORD_CHANGE_FAIL, origin, user_id=user.id)
            raise WrongCurrentPassword
        new_hash = await self.passwords.hash(change.new_password)
        async with self.database.transaction() as session:
            changed = await AccountRepository(session).lock(user.id)
            if changed is None or changed.credential.password_hash != verified_hash:
                raise WrongCurrentPassword  # it was changed meanwhile
            await self.limiter.forget(session, attempts)
            await self._set(session, changed, new_hash, origin, reason="changed", but=session_id)
        self._tell(user)

    async def take_mail(self, email: str, origin: Origin) -> RateLimit:
        """Count a mail that somebody asks for. Raises `TooManyRequests`, whether there is such an account or not."""
        async with self.database.transaction() as session:
            counted = [
                Subject(self.limits.mail_account, email.casefold()),
                Subject(self.limits.mail_address, origin.network),
            ]
            return await self.limiter.take(session, counted)

    def forget(self, email: str, origin: Origin) -> None:
        """Mail a token to whoever has an account with this address.

        All of it happens behind the answer, which so takes as long for an unknown address. Raises
        `ServiceUnavailable` if too many mails are waiting.
        """

        async def mail() -> Mail | None:
            async with self.database.transaction() as session:
                user = await AccountRepository(session).get_by_email(email)
                if user is None or not user.is_active:
                    return None
                purpose, now = Purpose.RESET_PASSWORD, self.clock()
                token = await OneTimeTokenRepository(session).issue(purpose, user, user.email, now)
                await self.audit.record(
                    session, Event.TOKEN_CREATED, origin, user_id=user.id, anonymous=True, purpose=purpose
                )
            minutes = LIFETIMES[purpose].seconds // 60
            return self.mails.reset_password(user.email, user.name, token=token, minutes=minutes)

        self.mailer.submit(MailKind.RESET_PASSWORD, mail)

    async def reset(self, reset: PasswordReset, origin: Origin) -> None:
        """Set a new password with a mailed token, and end every session. Nobody is logged in by it.

        Raises `InvalidResetToken`, `PasswordTooWeak` (the token can then be used again).
        """
        tokens, purpose = OneTimeTokenRepository, Purpose.RESET_PASSWORD
        async with self.database.reading() as session:
            # A token that is no good is not worth a hash.
            known = await tokens(session).get(purpose, reset.token, self.clock())
            user = await AccountRepository(session).get_by_id(known.user_id) if known else None
        if user is None or not user.is_active:
            raise InvalidResetToken
        self._check(reset.new_password, user)
        new_hash = await self.passwords.hash(reset.new_password)
        async with self.database.transaction() as session:
            used = await tokens(session).use(purpose, reset.token, self.clock())
            changed = await AccountRepository(session).lock(user.id) if used else None
            if used is None or changed is None or not changed.is_active:
                raise InvalidResetToken
            if used.email == changed.email:
                # Who has the mailed token reads mail there.
                changed.credential.email_verified_at = changed.credential.email_verified_at or self.clock()
            names = (changed.username, changed.email)
            await self.limiter.forget(session, *(account_subject(self.limits, name) for name in names))
            await self._set(session, changed, new_hash, origin, reason="reset")
        self._tell(user)

    def _check(self, password: str, user: User) -> None:
        if reason := weakness(password, username=user.username, email=user.email):
            raise PasswordTooWeak(reason, field="new_password")

    async def _set(
        self,
        session: AsyncSession,
        user: User,
        password_hash: str,
        origin: Origin,
        *,
        reason: str,
        but: str | None = None,
    ) -> None:
        user.credential.password_hash = password_hash
        user.credential.password_changed_at = self.clock()
        tokens = OneTimeTokenRepository(session)
        await tokens.withdraw(Purpose.RESET_PASSWORD, user.id)
        if user.credential.pending_email:
            # Whoever had the old password may have asked for that.
            await tokens.withdraw(Purpose.CONFIRM_EMAIL, user.id)
            user.credential.pending_email = None
        await self.sessions.revoke(session, user, but=but)
        await self.audit.record(session, Event.PASSWORD_CHANGE, origin, user_id=user.id, reason=reason)

    def _tell(self, user: User) -> None:
        self.addresses.send_soon(self.mails.password_changed_notice(user.email, user.name, when=self.clock()))
