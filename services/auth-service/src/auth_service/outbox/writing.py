"""Writes the mail of a row of the outbox.

What depends on the existence of an account is decided here, after the response, so that neither the response nor its
duration reveals it. So are the limits per mailbox: only mails that would be sent count, and no request is refused.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import INTERNAL, ClientInfo
from auth_service.database import Clock, Database
from auth_service.limits.backoff import BackoffPolicy
from auth_service.limits.policies import OLDEST_ALIASES, Limits, of_mailbox
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.mail.smtp import Undelivered
from auth_service.one_time_tokens.models import LIFETIMES, Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.outbox.models import OutboxMail
from auth_service.outbox.repository import OutboxRepository
from auth_service.outbox.service import Outbox
from auth_service.users.addresses import mailbox_of_alias
from auth_service.users.models import User
from auth_service.users.repository import UserRepository
from service_kit.problems import TooManyRequests

# The reason of a mail that waits for the limit of its mailbox.
MAILBOX_LIMIT = "limit of the mailbox"

_PURPOSES = {
    MailKind.CONFIRM_EMAIL: Purpose.CONFIRM_EMAIL,
    MailKind.CONFIRM_NEW_EMAIL: Purpose.CONFIRM_EMAIL,
    MailKind.EMAIL_CHANGE_NOTICE: Purpose.UNDO_EMAIL,
    MailKind.EMAIL_CHANGED_NOTICE: Purpose.UNDO_EMAIL,
    MailKind.RESET_PASSWORD: Purpose.RESET_PASSWORD,
}

# News of a change that was made. An address that the account has confirmed always gets it.
_NEWS = {MailKind.PASSWORD_CHANGED_NOTICE, MailKind.EMAIL_CHANGED_NOTICE, MailKind.EMAIL_RESTORED_NOTICE}


class MailPostponed(Undelivered):
    """The mail waits in the outbox until the limit of its mailbox allows it."""


@dataclass(frozen=True)
class MailWriter:
    database: Database
    outbox: Outbox
    mails: MailComposer
    audit: AuditTrail
    limiter: AttemptLimiter
    limits: Limits
    clock: Clock

    async def write(self, row: OutboxMail) -> Mail | None:
        """The same mail at each attempt. None if no mail is due, or none any more, or its mailbox has got too many.

        Raises `MailPostponed` if its mailbox has got too many, but must get this one.
        """
        async with self.database.transaction() as session:
            mail = await self._write(session, row, row.recipient or "")
            if isinstance(mail, timedelta):
                await OutboxRepository(session).postpone(row.id, mail.total_seconds(), MAILBOX_LIMIT)
        if isinstance(mail, timedelta):
            raise MailPostponed
        return mail and mail.identified_by(row.id, row.created_at)

    async def _write(self, session: AsyncSession, row: OutboxMail, to: str) -> Mail | timedelta | None:
        """The mail, or how long it must wait for the limit of its mailbox, or None if it is not due."""
        if row.kind == MailKind.RESET_PASSWORD:
            return await self._reset_password(session, row, to)
        if row.kind == MailKind.REGISTRATION_WITH_TAKEN_EMAIL:
            return await self._registration_with_taken_email(session, row, to)
        user = await UserRepository(session).get_by_id(row.user_id or "")
        if user is None:
            return None
        plain = {
            MailKind.PASSWORD_CHANGED_NOTICE: self.mails.password_changed_notice,
            MailKind.EMAIL_RESTORED_NOTICE: self.mails.email_restored_notice,
        }
        if notice := plain.get(MailKind(row.kind)):
            is_due = await self._count(session, row, to, user.id, is_confirmed=row.is_confirmed)
            return notice(to, user.name, when=row.created_at) if is_due else None
        if row.kind in (MailKind.EMAIL_CHANGE_NOTICE, MailKind.EMAIL_CHANGED_NOTICE):
            return await self._notice_of_change(session, row, to, user)
        return await self._confirmation(session, row, to, user.id)

    async def _registration_with_taken_email(self, session: AsyncSession, row: OutboxMail, to: str) -> Mail | None:
        owner = await UserRepository(session).get_by_email(to)
        held = None if owner else await OneTimeTokenRepository(session).held(to, self.clock())
        user_id = owner.id if owner else held.user_id if held else None
        is_confirmed = bool(owner and owner.email_verified)
        if user_id is None or not await self._count(session, row, to, user_id, is_confirmed=is_confirmed):
            return None
        if held is not None:
            return self.mails.registration_with_held_email(held.email, until=held.expires_at)
        return self.mails.registration_with_taken_email(owner.email, owner.name) if owner else None

    async def _count(
        self, session: AsyncSession, row: OutboxMail, to: str, user_id: str, *, is_confirmed: bool
    ) -> bool:
        """Count a mail at the first attempt to write it. Returns whether its mailbox may get it."""
        if _is_free(row, is_confirmed=is_confirmed):
            return True
        try:
            await self.limiter.take(session, [await self._counted(session, row, to, user_id, is_confirmed)])
        except TooManyRequests:
            return False
        return True

    async def _counted(
        self, session: AsyncSession, row: OutboxMail, to: str, user_id: str, is_confirmed: bool
    ) -> Subject:
        """What counts a mail to the present or former address of an account, or to the one that it wants."""
        policy, mailbox = self._limit_of(MailKind(row.kind)), mailbox_of_alias(to)
        if is_confirmed or mailbox is None or row.kind == MailKind.CONFIRM_NEW_EMAIL:
            return of_mailbox(policy, to, is_confirmed=is_confirmed)
        older = await OneTimeTokenRepository(session).count_older_aliases(mailbox, user_id, OLDEST_ALIASES)
        return of_mailbox(policy, to, older=older)

    def _limit_of(self, kind: MailKind) -> BackoffPolicy:
        return {
            MailKind.CONFIRM_EMAIL: self.limits.confirmation_mailbox,
            MailKind.CONFIRM_NEW_EMAIL: self.limits.email_change_mailbox,
            MailKind.EMAIL_CHANGE_NOTICE: self.limits.email_change_former,
            MailKind.RESET_PASSWORD: self.limits.mail_mailbox,
            MailKind.REGISTRATION_WITH_TAKEN_EMAIL: self.limits.registration_mailbox,
            MailKind.EMAIL_CHANGED_NOTICE: self.limits.email_changed_mailbox,
            MailKind.EMAIL_RESTORED_NOTICE: self.limits.notice_mailbox,
            MailKind.PASSWORD_CHANGED_NOTICE: self.limits.notice_mailbox,
        }[kind]

    async def _confirmation(self, session: AsyncSession, row: OutboxMail, to: str, user_id: str) -> Mail | None:
        """To the address that is to be confirmed. The mail of a resend issues its token when it is first written.

        Beyond the limit of the mailbox none is issued, so that the link of the former mail stays valid.
        """
        user = await UserRepository(session).lock(user_id)
        link = await self._link(session, row) if row.sealed_token else None
        if user is None or (link is None and (row.sealed_token or not _awaits_confirmation(user, to))):
            return None
        is_confirmed = user.email_verified and user.email == to
        if not await self._count(session, row, to, user.id, is_confirmed=is_confirmed):
            return None
        token, expires = link or await self._new_link(session, row, user, Purpose.CONFIRM_EMAIL, to)
        if row.kind == MailKind.CONFIRM_EMAIL:
            return self.mails.confirm_email(to, user.name, token=token, expires=expires)
        owner = await UserRepository(session).get_by_email(to)
        if owner is not None and owner.id != user.id:
            return self.mails.change_to_taken_email(owner.email, owner.name)
        return self.mails.confirm_new_email(to, user.name, token=token, expires=expires)

    async def _notice_of_change(
        self, session: AsyncSession, row: OutboxMail, to: str, user: User
    ) -> Mail | timedelta | None:
        """To a former address. Without a token in the row, another address can undo the change.

        Beyond the limit of the mailbox the link waits as long as it is valid: without it the owner would lose the
        account to a thief who knows the password and has used up the limit.
        """
        link = await self._link(session, row) if row.sealed_token else None
        if row.sealed_token and link is None:
            return None
        if link is None:
            if not await self._count(session, row, to, user.id, is_confirmed=row.is_confirmed):
                return None
        elif not _is_free(row, is_confirmed=row.is_confirmed):
            counted = await self._counted(session, row, to, user.id, row.is_confirmed)
            wait = await self.limiter.reserve(session, counted, before=link[1])
            if wait is None or wait:
                return wait
        if row.kind == MailKind.EMAIL_CHANGE_NOTICE:
            return self.mails.email_change_notice(to, user.name, when=row.created_at, undo=link)
        return self.mails.email_changed_notice(to, user.name, when=row.created_at, undo=link)

    async def _reset_password(self, session: AsyncSession, row: OutboxMail, email: str) -> Mail | None:
        """To the owner of the address, if an active account has it. The first attempt issues the token.

        Beyond the limit of the mailbox none is issued, so that the link of the former mail stays valid.
        """
        users = UserRepository(session)
        found = await users.get_by_email(email)
        user = await users.lock(found.id) if found else None
        if user is None or not user.is_active or user.email != email:
            return None  # the address was changed in the meantime
        if row.sealed_token:
            link = await self._link(session, row)
        elif await self._count(session, row, user.email, user.id, is_confirmed=user.email_verified):
            link = await self._new_link(session, row, user, Purpose.RESET_PASSWORD, user.email)
            client = ClientInfo(**row.client) if row.client else INTERNAL
            await self.audit.record(
                session,
                Event.TOKEN_CREATED,
                client,
                user_id=user.id,
                anonymous=True,
                purpose=Purpose.RESET_PASSWORD,
            )
        else:
            return None
        if link is None:
            return None
        token, expires = link
        minutes = int(LIFETIMES[Purpose.RESET_PASSWORD].total_seconds()) // 60
        return self.mails.reset_password(user.email, user.name, token=token, minutes=minutes, expires=expires)

    async def _new_link(
        self, session: AsyncSession, row: OutboxMail, user: User, purpose: Purpose, email: str
    ) -> tuple[str, datetime]:
        """Issue a token for a locked user. The row keeps it for a retry."""
        now = self.clock()
        token = await OneTimeTokenRepository(session).issue(purpose, user, email, now)
        await OutboxRepository(session).seal(row.id, self.outbox.seal(row.id, token))
        return token, now + LIFETIMES[purpose]

    async def _link(self, session: AsyncSession, row: OutboxMail) -> tuple[str, datetime] | None:
        """The token of the mail and its expiry, or None if the token was used or withdrawn in the meantime."""
        if row.sealed_token is None:
            return None
        token = self.outbox.unseal(row.id, row.sealed_token)
        purpose = _PURPOSES[MailKind(row.kind)]
        stored = await OneTimeTokenRepository(session).get(purpose, token, self.clock())
        return (token, stored.expires_at) if stored else None


def _is_free(row: OutboxMail, *, is_confirmed: bool) -> bool:
    """Whether a mail is not counted: it was at its first attempt, or it is news to a confirmed address."""
    return row.attempts > 0 or (is_confirmed and row.kind in _NEWS)


def _awaits_confirmation(user: User, email: str) -> bool:
    """While a change is not confirmed, the present address does not: its link would end that change."""
    awaited = user.pending_email or (None if user.email_verified else user.email)
    return user.is_active and email == awaited
