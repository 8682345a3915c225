"""Rules of email addresses."""

import contextlib
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import User
from auth_service.accounts.problems import EmailTaken
from auth_service.accounts.repository import AccountRepository
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.email_addresses.problems import InvalidEmailToken
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.one_time_tokens import LIFETIMES, OneTimeTokenRepository, Purpose
from auth_service.origin import Origin
from service_kit.problems import ServiceUnavailable
from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class EmailAddressService:
    database: Database
    mailer: Mailer
    mails: MailComposer
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def confirmation(self, session: AsyncSession, user: User) -> Mail:
        """A mail by which the present address can be confirmed, its token stored in the caller's transaction."""
        token, now = await self._token(session, user, user.email), self.clock()
        expires = now + LIFETIMES[Purpose.CONFIRM_EMAIL]
        return self.mails.confirm_email(user.email, user.name, token=token, expires=expires)

    async def change(self, session: AsyncSession, user: User, email: str) -> list[Mail]:
        """Begin to change a locked user's address: the mails to both. Raises `EmailTaken`."""
        if email == user.email:
            user.credential.pending_email = None
            await OneTimeTokenRepository(session).withdraw(Purpose.CONFIRM_EMAIL, user.id)
            return []
        owner = await AccountRepository(session).get_by_email(email)
        if owner is not None and owner.id != user.id:
            raise EmailTaken
        user.credential.pending_email = email
        token, now = await self._token(session, user, email), self.clock()
        expires = now + LIFETIMES[Purpose.CONFIRM_EMAIL]
        return [
            self.mails.confirm_new_email(email, user.name, token=token, expires=expires),
            self.mails.email_change_notice(user.email, user.name, when=now),
        ]

    async def confirm(self, token: str, origin: Origin) -> None:
        """The holder of the token reads mail at its address. Raises `InvalidEmailToken`, `EmailTaken`."""
        async with self.database.transaction() as session:
            used = await OneTimeTokenRepository(session).use(Purpose.CONFIRM_EMAIL, token, self.clock())
            accounts = AccountRepository(session)
            user = await accounts.lock(used.user_id) if used else None
            if used is None or user is None:
                raise InvalidEmailToken
            is_new = used.email != user.email
            user.email = used.email
            user.updated_at = user.credential.email_verified_at = self.clock()
            user.credential.pending_email = None
            await accounts.flush()
            await self.audit.record(
                session, Event.USER_UPDATED, origin, user_id=user.id, email_confirmed=True, is_new=is_new
            )

    async def resend(self, user_id: str, origin: Origin) -> RateLimit:
        """Mail another token for the address that is still to be confirmed, if there is one.

        Raises `TooManyRequests`.
        """
        mail = None
        async with self.database.transaction() as session:
            counted = [
                Subject(self.limits.mail_account, user_id),
                Subject(self.limits.mail_address, origin.network),
            ]
            limit = await self.limiter.take(session, counted)
            user = await AccountRepository(session).lock(user_id)
            if user is not None and user.pending_email:
                mail, _ = await self.change(session, user, user.pending_email)
            elif user is not None and not user.email_verified:
                mail = await self.confirmation(session, user)
        if mail is not None:
            self.send_soon(mail)
        return limit

    def tell_owner_of_registration(self, email: str) -> None:
        """Tell who has this address that somebody wanted to register with it."""

        async def mail() -> Mail | None:
            async with self.database.reading() as session:
                owner = await AccountRepository(session).get_by_email(email)
            return self.mails.registration_with_taken_email(owner.email, owner.name) if owner else None

        with contextlib.suppress(ServiceUnavailable):
            self.mailer.submit(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, mail)

    def send_soon(self, mail: Mail) -> None:
        """What was done is done even if the mails have piled up; the person can ask for another."""
        with contextlib.suppress(ServiceUnavailable):
            self.mailer.send(mail)

    async def _token(self, session: AsyncSession, user: User, email: str) -> str:
        return await OneTimeTokenRepository(session).issue(Purpose.CONFIRM_EMAIL, user, email, self.clock())
