"""The table of mails that are not sent yet, or could not be sent."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, VARBINARY, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Table, new_id
from auth_service.mail.messages import MailKind
from auth_service.one_time_tokens.models import LIFETIMES, Purpose

# A mail is not sent later than its link works, or than its notice is news.
DEADLINES = {
    MailKind.CONFIRM_EMAIL: LIFETIMES[Purpose.CONFIRM_EMAIL],
    MailKind.CONFIRM_NEW_EMAIL: LIFETIMES[Purpose.CONFIRM_EMAIL],
    MailKind.EMAIL_CHANGE_NOTICE: LIFETIMES[Purpose.UNDO_EMAIL],
    MailKind.EMAIL_CHANGED_NOTICE: LIFETIMES[Purpose.UNDO_EMAIL],
    MailKind.EMAIL_RESTORED_NOTICE: timedelta(days=1),
    MailKind.RESET_PASSWORD: LIFETIMES[Purpose.RESET_PASSWORD],
    MailKind.PASSWORD_CHANGED_NOTICE: timedelta(days=1),
    MailKind.REGISTRATION_WITH_TAKEN_EMAIL: timedelta(days=1),
}


class OutboxMail(Table):
    """A mail to be written and sent. The row is deleted when the mail is sent.

    `due_at` is the time of the next attempt, by MySQL's clock. A worker that claims the row moves it into the future,
    so that another one tries again if the worker is killed. `sealed_token` is the token of the mail's link, encrypted.
    `client` is the one that requested the mail, for the audit trail. `is_confirmed`: the account has confirmed that it
    reads the recipient's mailbox.

    A dead mail has `died_at` and `reason`, is not tried again, and keeps neither the recipient nor the token.
    """

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    recipient: Mapped[str | None]
    sealed_token: Mapped[bytes | None] = mapped_column(VARBINARY(128))
    client: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    is_confirmed: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int]
    reason: Mapped[str | None]
    died_at: Mapped[datetime | None]
