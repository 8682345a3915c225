"""Rules of email addresses."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.email_addresses.problems import InvalidEmailToken
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.one_time_tokens.models import LIFETIMES, Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.users.models import User
from auth_service.users.problems import EmailTaken
from auth_service.users.repository import UserRepository
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
        """A mail that confirms the present address. Its token is stored in the caller's transaction."""
        token, now = await self._token(session, user, user.email), self.clock()
        expires = now + LIFETIMES[Purpose.CONFIRM_EMAIL]
        return self.mails.confirm_email(user.email, user.name, token=token, expires=expires)

    async def change(self, session: AsyncSession, user: User, email: str) -> list[Mail]:
        """Begin to change a locked user's address. Returns the mails to both addresses. Raises `EmailTaken`."""
        if email == user.email:
            user.credential.pending_email = None
            await OneTimeTokenRepository(session).withdraw(Purpose.CONFIRM_EMAIL, user.id)
            return []
        owner = await UserRepository(session).get_by_email(email)
        if owner is not None and owner.id != user.id:
            raise EmailTaken
        user.credential.pending_email = email
        token, now = await self._token(session, user, email), self.clock()
        expires = now + LIFETIMES[Purpose.CONFIRM_EMAIL]
        return [
            self.mails.confirm_new_email(email, user.name, token=token, expires=expires),
            self.mails.email_change_notice(user.email, user.name, when=now),
        ]

    async def confirm(self, token: str, client: ClientInfo) -> None:
        """Confirm the address that the token was mailed to. Raises `InvalidEmailToken`, `EmailTaken`."""
        async with self.database.transaction() as session:
            used = await OneTimeTokenRepository(session).use(Purpose.CONFIRM_EMAIL, token, self.clock())
            users = UserRepository(session)
            user = await users.lock(used.user_id) if used else None
            if used is None or user is None:
                raise InvalidEmailToken
            is_new = used.email != user.email
            user.email = used.email
            user.updated_at = user.credential.email_verified_at = self.clock()
            user.credential.pending_email = None
            await users.flush()
            await self.audit.record(
                session, Event.USER_UPDATED, client, user_id=user.id, email_confirmed=True, is_new=is_new
            )

    async def resend(self, user_id: str, client: ClientInfo) -> RateLimit:
        """Mail another token for an unconfirmed address, if the user has one. Raises `TooManyRequests`."""
        mail = None
        async with self.database.transaction() as session:
            counted = [
                Subject(self.limits.mail_account, user_id),
                Subject(self.limits.mail_address, client.network),
            ]
            limit = await self.limiter.take(session, counted)
            user = await UserRepository(session).lock(user_id)
            if user is not None and user.pending_email:
                mail, _ = await self.change(session, user, user.pending_email)
            elif user is not None and not user.email_verified:
                mail = await self.confirmation(session, user)
        if mail is not None:
            self.mailer.try_send(mail)
        return limit

    def notify_owner_of_registration(self, email: str) -> None:
        """Mail the owner of this address that a registration with it was attempted."""

        async def mail() -> Mail | None:
            async with self.database.reading() as session:
                owner = await UserRepository(session).get_by_email(email)
            return self.mails.registration_with_taken_email(owner.email, owner.name) if owner else None

        self.mailer.try_submit(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, mail)

    async def _token(self, session: AsyncSession, user: User, email: str) -> str:
        return await OneTimeTokenRepository(session).issue(Purpose.CONFIRM_EMAIL, user, email, self.clock())
