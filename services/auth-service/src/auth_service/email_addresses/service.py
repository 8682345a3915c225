"""Rules of email addresses."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.email_addresses.problems import InvalidEmailToken, InvalidUndoToken
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.messages import MailKind
from auth_service.one_time_tokens.models import OneTimeToken, Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.outbox.service import Outbox
from auth_service.sessions.service import SessionService
from auth_service.users.models import User
from auth_service.users.problems import EmailTaken
from auth_service.users.repository import UserRepository
from service_kit.rate_limit import RateLimit


@dataclass(frozen=True)
class EmailAddressService:
    database: Database
    anonymous: AnonymousDatabase
    sessions: SessionService
    outbox: Outbox
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def ask_to_confirm(self, session: AsyncSession, user: User) -> None:
        """Mail a link that confirms the present address."""
        await self._mail_link(session, MailKind.CONFIRM_EMAIL, Purpose.CONFIRM_EMAIL, user, user.email)

    async def take_change(self, user: User, client: ClientInfo) -> RateLimit:
        """Count a change of the address, which sends a mail to both mailboxes. Raises `TooManyRequests`."""
        counted = [
            Subject(self.limits.email_change_account, user.id),
            Subject(self.limits.mail_address, client.network),
        ]
        async with self.database.transaction(user.id) as session:
            return await self.limiter.take(session, counted)

    async def change(self, session: AsyncSession, user: User, email: str) -> None:
        """Begin to change a locked user's address: mail a link to the new one, and to the one that can undo the change.

        The work and the response are the same whether or not another account has the address. Only the mail to it
        differs, which is written later (`outbox.writing`). While an older address is protected, it gets the link that
        undoes the change, and the present one, which may be an intruder's, a notice only. If the user returns to the
        protected address, the present one gets no mail: an intruder would hinder the return. The present address ends
        a change that is not confirmed yet.
        """
        if email == user.email:
            user.credential.end_change()
            await OneTimeTokenRepository(session).withdraw(Purpose.CONFIRM_EMAIL, user.id)
            return
        undo_email = await self._undo_email(session, user)
        user.credential.pending_email, user.credential.undo_email = email, undo_email
        await self._mail_link(session, MailKind.CONFIRM_NEW_EMAIL, Purpose.CONFIRM_EMAIL, user, email)
        if not _is_return(user.email, email, undo_email):
            kind, is_confirmed = MailKind.EMAIL_CHANGE_NOTICE, user.email_verified
            await self._notify(session, kind, user, user.email, undo_email, is_confirmed=is_confirmed)

    async def confirm(self, token: str, client: ClientInfo) -> None:
        """Confirm the address that the token was mailed to. Raises `InvalidEmailToken`, `EmailTaken`.

        A changed address ends all one-time tokens of the account, except those that undo a change. The address that was
        protected when the change was requested gets a link that undoes it. If the request is so old that another person
        may read that mailbox, the link goes to the address that is protected now, or else to the replaced one. The
        return to the address of the request is an undo: all links end, and the replaced address gets a notice only.
        """
        async with self.anonymous.transaction(client) as session:
            used, user = await self._use(session, Purpose.CONFIRM_EMAIL, token)
            if used is None or user is None or not user.is_active:
                raise InvalidEmailToken
            old, is_confirmed = user.email, user.email_verified
            # A replica of the previous release does not store it.
            protected = await self._undo_email(session, user)
            undo_email = user.credential.undo_email or protected
            is_new = used.email != old
            await self._set(session, user, used.email)
            if is_new and _is_return(old, used.email, undo_email):
                await OneTimeTokenRepository(session).withdraw_all(user.id, keep_undo=False)
                kind = MailKind.EMAIL_RESTORED_NOTICE
                await self.outbox.put(session, kind, old, user=user, is_confirmed=is_confirmed)
            elif is_new:
                tokens = OneTimeTokenRepository(session)
                await tokens.withdraw_all(user.id)
                is_known = old == undo_email or await self.recall(session, user, undo_email)
                to = undo_email if is_known else protected
                kind = MailKind.EMAIL_CHANGED_NOTICE
                await self._notify(session, kind, user, old, to, is_confirmed=is_confirmed)
            await self.audit.record(
                session, Event.USER_UPDATED, client, user_id=user.id, email_confirmed=True, is_new=is_new
            )

    async def undo(self, token: str, client: ClientInfo) -> None:
        """Restore the address that the token was mailed to, or cancel a change that is not confirmed yet.

        An intruder may have made the change and know the password. So this ends all sessions, all one-time tokens, and
        the use of the password for sensitive actions. The replaced address gets a notice. It works for an inactive
        account, too, because it protects the owner; the account stays inactive.
        Raises `InvalidUndoToken`, and `EmailTaken`, which no account can cause while `ensure_not_held` is called.
        """
        async with self.anonymous.transaction(client) as session:
            used, user = await self._use(session, Purpose.UNDO_EMAIL, token)
            if used is None or user is None:
                raise InvalidUndoToken
            replaced, is_confirmed = user.email, user.email_verified
            await self._set(session, user, used.email)
            user.credential.is_password_reset_due = True
            await OneTimeTokenRepository(session).withdraw_all(user.id, keep_undo=False)
            await self.sessions.revoke(session, user)
            if used.email != replaced:
                kind = MailKind.EMAIL_RESTORED_NOTICE
                await self.outbox.put(session, kind, replaced, user=user, is_confirmed=is_confirmed)
            await self.audit.record(session, Event.USER_UPDATED, client, user_id=user.id, email_restored=True)

    async def recall(self, session: AsyncSession, user: User, email: str) -> bool:
        """Whether a locked user may get a link to an address whose links have expired. No other account takes it then.

        The user has the address for a moment. So the unique index makes this transaction wait for another one that
        takes the address, and another one wait for this: it calls `ensure_not_held` after that, and sees the link.
        Raises `EmailTaken` if the other one was first; a repetition then returns False.
        """
        tokens, users = OneTimeTokenRepository(session), UserRepository(session)
        if not await tokens.is_remembered(user.id, email, self.clock()):
            return False
        present = user.email
        for each in (email, present):
            user.email = each
            await users.flush()
        return await tokens.is_remembered(user.id, email, self.clock())

    async def ensure_not_held(self, session: AsyncSession, user: User) -> None:
        """Raises `EmailTaken` if another account gave up this user's address so recently that it may undo that.

        Call this after the user was sent to MySQL: the unique index has made the transaction wait for the other one.
        """
        if await OneTimeTokenRepository(session).is_held(user.email, self.clock(), except_user_id=user.id):
            raise EmailTaken

    async def resend(self, caller: User, client: ClientInfo) -> RateLimit:
        """Mail another token for an unconfirmed address, if the user has one. Raises `TooManyRequests`."""
        async with self.database.transaction(caller.id) as session:
            counted = [
                Subject(self.limits.mail_account, caller.id),
                Subject(self.limits.mail_address, client.network),
            ]
            limit = await self.limiter.take(session, counted)
            user = await UserRepository(session).lock(caller.id)
            if user is None or not user.is_active:
                return limit  # it was deactivated or deleted in the meantime
            # The token is issued when the mail is written (`outbox.writing`). If the mailbox has got too many mails,
            # the former link stays valid.
            if user.pending_email:
                await self.outbox.put(session, MailKind.CONFIRM_NEW_EMAIL, user.pending_email, user=user)
            elif not user.email_verified:
                await self.outbox.put(session, MailKind.CONFIRM_EMAIL, user.email, user=user)
        return limit

    async def notify_owner_of_registration(self, email: str, client: ClientInfo) -> None:
        """Mail the owner of this address that a registration with it was attempted."""
        async with self.anonymous.transaction(client) as session:
            await self.outbox.put(session, MailKind.REGISTRATION_WITH_TAKEN_EMAIL, email)

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
        is_new = user.email != email
        user.email = email
        user.updated_at = user.credential.email_verified_at = self.clock()
        user.credential.end_change()
        await UserRepository(session).flush()
        if is_new:
            await self.ensure_not_held(session, user)

    async def _mail_link(
        self,
        session: AsyncSession,
        kind: MailKind,
        purpose: Purpose,
        user: User,
        email: str,
        *,
        is_confirmed: bool = False,
    ) -> None:
        """Mail a link with a new token to this address."""
        tokens = OneTimeTokenRepository(session)
        token = await tokens.issue(purpose, user, email, self.clock(), is_confirmed=is_confirmed)
        await self.outbox.put(session, kind, email, user=user, token=token, is_confirmed=is_confirmed)

    async def _notify(
        self,
        session: AsyncSession,
        kind: MailKind,
        user: User,
        former: str,
        undo_email: str,
        *,
        is_confirmed: bool,
    ) -> None:
        """Mail the link that undoes a change. If it goes to another address, the former one gets a notice.

        `is_confirmed` is about the former one.
        """
        is_former = undo_email == former
        if is_former:
            was_confirmed = is_confirmed
        else:
            was_confirmed = await OneTimeTokenRepository(session).was_confirmed(user.id, undo_email)
        await self._mail_link(session, kind, Purpose.UNDO_EMAIL, user, undo_email, is_confirmed=was_confirmed)
        if not is_former:
            await self.outbox.put(session, kind, former, user=user, is_confirmed=is_confirmed)

    async def _undo_email(self, session: AsyncSession, user: User) -> str:
        """The address that can undo a change which is requested now."""
        return await OneTimeTokenRepository(session).protected_email(user.id, self.clock()) or user.email


def _is_return(present: str, new: str, undo_email: str) -> bool:
    """Whether a change restores the address that is protected."""
    return new == undo_email != present
