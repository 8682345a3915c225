"""Writes the mail of a row of the outbox.

What depends on the existence of an account is decided here, after the response, so that neither the response nor its
duration reveals it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import INTERNAL, ClientInfo
from auth_service.database import Clock, Database
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.one_time_tokens.models import LIFETIMES, Purpose
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.outbox.models import OutboxMail
from auth_service.outbox.repository import OutboxRepository
from auth_service.outbox.service import Outbox
from auth_service.users.models import User
from auth_service.users.repository import UserRepository

_PURPOSES = {
    MailKind.CONFIRM_EMAIL: Purpose.CONFIRM_EMAIL,
    MailKind.CONFIRM_NEW_EMAIL: Purpose.CONFIRM_EMAIL,
    MailKind.EMAIL_CHANGE_NOTICE: Purpose.UNDO_EMAIL,
    MailKind.EMAIL_CHANGED_NOTICE: Purpose.UNDO_EMAIL,
    MailKind.RESET_PASSWORD: Purpose.RESET_PASSWORD,
}


@dataclass(frozen=True)
class MailWriter:
    database: Database
    outbox: Outbox
    mails: MailComposer
    audit: AuditTrail
    clock: Clock

    async def write(self, row: OutboxMail) -> Mail | None:
        """The same mail at each attempt. None if no mail is due, or none any more."""
        async with self.database.transaction() as session:
            mail = await self._write(session, row, row.recipient or "")
        return mail and mail.identified_by(row.id, row.created_at)

    async def _write(self, session: AsyncSession, row: OutboxMail, to: str) -> Mail | None:
        if row.kind == MailKind.RESET_PASSWORD:
            return await self._reset_password(session, row, to)
        if row.kind == MailKind.REGISTRATION_WITH_TAKEN_EMAIL:
            owner = await UserRepository(session).get_by_email(to)
            return self.mails.registration_with_taken_email(owner.email, owner.name) if owner else None
        user = await UserRepository(session).get_by_id(row.user_id or "")
        if user is None:
            return None
        if row.kind == MailKind.PASSWORD_CHANGED_NOTICE:
            return self.mails.password_changed_notice(to, user.name, when=row.created_at)
        if row.kind == MailKind.EMAIL_RESTORED_NOTICE:
            return self.mails.email_restored_notice(to, user.name, when=row.created_at)
        link = await self._link(session, row)
        return await self._with_link(session, row, to, user, link) if link else None

    async def _with_link(
        self, session: AsyncSession, row: OutboxMail, to: str, user: User, link: tuple[str, datetime]
    ) -> Mail:
        kind, (token, expires) = MailKind(row.kind), link
        if kind is MailKind.CONFIRM_EMAIL:
            return self.mails.confirm_email(to, user.name, token=token, expires=expires)
        if kind is MailKind.CONFIRM_NEW_EMAIL:
            owner = await UserRepository(session).get_by_email(to)
            if owner is not None and owner.id != user.id:
                return self.mails.change_to_taken_email(owner.email, owner.name)
            return self.mails.confirm_new_email(to, user.name, token=token, expires=expires)
        notice = {
            MailKind.EMAIL_CHANGE_NOTICE: self.mails.email_change_notice,
            MailKind.EMAIL_CHANGED_NOTICE: self.mails.email_changed_notice,
        }[kind]
        return notice(to, user.name, when=row.created_at, token=token, expires=expires)

    async def _reset_password(self, session: AsyncSession, row: OutboxMail, email: str) -> Mail | None:
        """To the owner of the address, if an active account has it. The first attempt issues the token."""
        users = UserRepository(session)
        found = await users.get_by_email(email)
        user = await users.lock(found.id) if found else None
        if user is None or not user.is_active or found is None or user.email != found.email:
            return None
        link = await self._link(session, row) if row.sealed_token else await self._new_link(session, row, user)
        if link is None:
            return None
        token, expires = link
        minutes = int(LIFETIMES[Purpose.RESET_PASSWORD].total_seconds()) // 60
        return self.mails.reset_password(user.email, user.name, token=token, minutes=minutes, expires=expires)

    async def _new_link(self, session: AsyncSession, row: OutboxMail, user: User) -> tuple[str, datetime]:
        """Issue a token to reset the password. The row keeps it for a retry."""
        purpose, now = Purpose.RESET_PASSWORD, self.clock()
        token = await OneTimeTokenRepository(session).issue(purpose, user, user.email, now)
        await OutboxRepository(session).seal(row.id, self.outbox.seal(row.id, token))
        client = ClientInfo(**row.client) if row.client else INTERNAL
        await self.audit.record(session, Event.TOKEN_CREATED, client, user_id=user.id, anonymous=True, purpose=purpose)
        return token, now + LIFETIMES[purpose]

    async def _link(self, session: AsyncSession, row: OutboxMail) -> tuple[str, datetime] | None:
        """The token of the mail and its expiry, or None if the token was used or withdrawn in the meantime."""
        if row.sealed_token is None:
            return None
        token = self.outbox.unseal(row.id, row.sealed_token)
        purpose = _PURPOSES[MailKind(row.kind)]
        stored = await OneTimeTokenRepository(session).get(purpose, token, self.clock())
        return (token, stored.expires_at) if stored else None
