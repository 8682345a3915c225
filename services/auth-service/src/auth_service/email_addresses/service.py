"""Rules of email addresses."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.email_addresses.problems import InvalidEmailToken, InvalidUndoToken
from auth_service.limits.policies import Limits, of_mailbox
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.one_time_tokens.models import LIFETIMES, OneTimeToken, Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.sessions.service import SessionService
from auth_service.users.models import User
from auth_service.users.problems import EmailTaken
from auth_service.users.repository import UserRepository
from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class EmailAddressService:
    database: Database
    sessions: SessionService
    mailer: Mailer
    mails: MailComposer
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def confirmation(self, session: AsyncSession, user: User) -> Mail:
        """A mail that confirms the present address. Its token is stored in the caller's transaction."""
        token, expires = await self._token(session, Purpose.CONFIRM_EMAIL, user, user.email)
        return self.mails.confirm_email(user.email, user.name, token=token, expires=expires)

    async def take_change(self, user: User, email: str, client: ClientInfo) -> RateLimit:
        """Count a change of the address, which sends a mail to both mailboxes. Raises `TooManyRequests`."""
        limits = self.limits
        counted = {
            Subject(limits.email_change_account, user.id),
            *(of_mailbox(limits.email_change_mailbox, each) for each in (user.email, email)),
            Subject(limits.mail_address, client.network),
        }
        async with self.database.transaction() as session:
            return await self.limiter.take(session, list(counted))

    async def cancel_change(self, session: AsyncSession, user: User) -> None:
        """Keep the present address of a locked user."""
        user.credential.pending_email = None
        await OneTimeTokenRepository(session).withdraw(Purpose.CONFIRM_EMAIL, user.id)

    async def change(self, session: AsyncSession, user: User, email: str) -> Callable[[], None]:
        """Begin to change a locked user's address. Returns what sends the mails after the transaction.

        The work and the response are the same whether or not another account has the address. Only the mail to it
        differs, which is written later.
        """
        user.credential.pending_email = email
        token, expires = await self._token(session, Purpose.CONFIRM_EMAIL, user, email)
        undo, undo_expires = await self._token(session, Purpose.UNDO_EMAIL, user, user.email)
        name = user.name
        notice = self.mails.email_change_notice(user.email, name, when=self.clock(), token=undo, expires=undo_expires)

        async def confirmation() -> Mail:
            async with self.database.reading() as reading:
                owner = await UserRepository(reading).get_by_email(email)
            if owner is not None and owner.id != user.id:
                return self.mails.change_to_taken_email(owner.email, owner.name)
            return self.mails.confirm_new_email(email, name, token=token, expires=expires)

        def send() -> None:
            self.mailer.try_submit(MailKind.CONFIRM_NEW_EMAIL, confirmation)
            self.mailer.try_send(notice)

        return send

    async def confirm(self, token: str, client: ClientInfo) -> None:
        """Confirm the address that the token was mailed to. Raises `InvalidEmailToken`, `EmailTaken`.

        A changed address ends all one-time tokens of the account. The old address gets a link that undoes the change.
        """
        notice = None
        async with self.database.transaction() as session:
            used, user = await self._use(session, Purpose.CONFIRM_EMAIL, token)
            if used is None or user is None:
                raise InvalidEmailToken
            old = user.email
            is_new = used.email != old
            await self._set(session, user, used.email)
            if is_new:
                await OneTimeTokenRepository(session).withdraw_all(user.id)
                undo, expires = await self._token(session, Purpose.UNDO_EMAIL, user, old)
                notice = self.mails.email_changed_notice(old, user.name, when=self.clock(), token=undo, expires=expires)
            await self.audit.record(
                session, Event.USER_UPDATED, client, user_id=user.id, email_confirmed=True, is_new=is_new
            )
        if notice is not None:
            self.mailer.try_send(notice)

    async def undo(self, token: str, client: ClientInfo) -> None:
        """Restore the address that the token was mailed to, or cancel a change that is not confirmed yet.

        An intruder may have made the change and know the password. So this ends all sessions, all one-time tokens
        except those of still older addresses, and the use of the password for sensitive actions. Raises
        `InvalidUndoToken`, and `EmailTaken`, which no account can cause while `ensure_not_held` is called.
        """
        async with self.database.transaction() as session:
            used, user = await self._use(session, Purpose.UNDO_EMAIL, token)
            if used is None or user is None:
                raise InvalidUndoToken
            await self._set(session, user, used.email)
            user.credential.is_password_reset_due = True
            await OneTimeTokenRepository(session).withdraw_all(user.id, undo_since=used.created_at)
            await self.sessions.revoke(session, user)
            await self.audit.record(session, Event.USER_UPDATED, client, user_id=user.id, email_restored=True)

    async def ensure_not_held(self, session: AsyncSession, user: User) -> None:
        """Raises `EmailTaken` if another account gave up this user's address so recently that it may undo that.

        Call this after the user was sent to MySQL: the unique index has made the transaction wait for the other one.
        """
        if await OneTimeTokenRepository(session).is_held(user.email, self.clock(), except_user_id=user.id):
            raise EmailTaken

    async def resend(self, caller: User, client: ClientInfo) -> RateLimit:
        """Mail another token for an unconfirmed address, if the user has one. Raises `TooManyRequests`."""
        send = None
        async with self.database.transaction() as session:
            counted = [
                Subject(self.limits.mail_account, caller.id),
                Subject(self.limits.mail_address, client.network),
                of_mailbox(self.limits.mail_mailbox, caller.pending_email or caller.email),
            ]
            limit = await self.limiter.take(session, counted)
            user = await UserRepository(session).lock(caller.id)
            if user is not None and user.pending_email:
                send = await self.change(session, user, user.pending_email)
            elif user is not None and not user.email_verified:
                send = partial(self.mailer.try_send, await self.confirmation(session, user))
        if send is not None:
            send()
        return limit

    def notify_owner_of_registration(self, email: str) -> None:
        """Mail the owner of this address that a registration with it was attempted."""

        async def mail() -> Mail | None:
            async with self.database.reading() as session:
                owner = await UserRepository(session).get_by_email(email)
            return self.mails.registration_with_taken_email(owner.email, owner.name) if owner else None

        self.mailer.try_submit(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, mail)

    async def _use(
        self, session: AsyncSession, purpose: Purpose, token: str
    ) -> tuple[OneTimeToken | None, User | None]:
        """Lock the owner of a token and use the token up. None if it is invalid, used or expired."""
        tokens = OneTimeTokenRepository(session)
        found = await tokens.get(purpose, token, self.clock())
        user = await UserRepository(session).lock(found.user_id) if found else None
        is_used = found is not None and user is not None and await tokens.use(found)
        return (found, user) if is_used else (None, None)

    async def _set(self, session: AsyncSession, user: User, email: str) -> None:
        """Give a locked user an address whose mails the user reads. Raises `EmailTaken`."""
        user.email = email
        user.updated_at = user.credential.email_verified_at = self.clock()
        user.credential.pending_email = None
        await UserRepository(session).flush()
        await self.ensure_not_held(session, user)

    async def _token(self, session: AsyncSession, purpose: Purpose, user: User, email: str) -> tuple[str, datetime]:
        """A new token, and when it expires."""
        now = self.clock()
        token = await OneTimeTokenRepository(session).issue(purpose, user, email, now)
        return token, now + LIFETIMES[purpose]
