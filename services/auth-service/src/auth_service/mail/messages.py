"""Writes mails: plain text with an HTML alternative, from the templates `KIND.txt` and `KIND.html`."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from enum import StrEnum
from typing import Self

from email_validator import validate_email
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import NameEmail

from auth_service.database import Clock, utc_now
from auth_service.mail.links import Links

# Every server accepts ASCII with short lines. Other text is encoded.
_POLICY = policy.SMTP.clone(cte_type="7bit")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Text that mail programs turn into a link. The second dot is the ideographic full stop.
_LINK_LIKE = re.compile(r"[@/\\]|:\S|\w[.。]\w\w")


class MailKind(StrEnum):
    CONFIRM_EMAIL = "confirm_email"
    CONFIRM_NEW_EMAIL = "confirm_new_email"
    EMAIL_CHANGE_NOTICE = "email_change_notice"
    EMAIL_CHANGED_NOTICE = "email_changed_notice"
    EMAIL_RESTORED_NOTICE = "email_restored_notice"
    CHANGE_TO_TAKEN_EMAIL = "change_to_taken_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a kind of mail
    PASSWORD_CHANGED_NOTICE = "password_changed_notice"  # noqa: S105 - a kind of mail
    REGISTRATION_WITH_TAKEN_EMAIL = "registration_with_taken_email"
    REGISTRATION_WITH_HELD_EMAIL = "registration_with_held_email"


_SUBJECTS = {
    MailKind.CONFIRM_EMAIL: "Tandem: confirm your email address",
    MailKind.CONFIRM_NEW_EMAIL: "Tandem: confirm your new email address",
    MailKind.EMAIL_CHANGE_NOTICE: "Tandem: your email address is about to change",
    MailKind.EMAIL_CHANGED_NOTICE: "Tandem: your email address was changed",
    MailKind.EMAIL_RESTORED_NOTICE: "Tandem: a change of your email address was undone",
    MailKind.CHANGE_TO_TAKEN_EMAIL: "Tandem: your email address is already in use",
    MailKind.RESET_PASSWORD: "Tandem: choose a new password",
    MailKind.PASSWORD_CHANGED_NOTICE: "Tandem: your password was changed",
    MailKind.REGISTRATION_WITH_TAKEN_EMAIL: "Tandem: you already have an account",
    MailKind.REGISTRATION_WITH_HELD_EMAIL: "Tandem: your email address is held for an account",
}

# The token of a link that undoes a change, and its expiry. None: an older address gets it.
Undo = tuple[str, datetime]


@dataclass(frozen=True)
class Mail:
    """One mail to one recipient."""

    kind: MailKind
    message: EmailMessage = field(repr=False)

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    def identified_by(self, mail_id: str, written_at: datetime) -> Self:
        """The same mail with this Message-ID and date, so that each attempt to send it has them."""
        domain = self.message["From"].addresses[0].domain
        self.message.replace_header("Message-ID", f"<{mail_id}@{domain}>")
        self.message.replace_header("Date", format_datetime(written_at))
        return self

    @property
    def recipient(self) -> str:
        return str(self.message["To"].addresses[0].addr_spec)


class MailComposer:
    """Writes the mails. `to` is a validated address, `name` the user's display name.

    The name is part of the greeting, never of a header. A name that looks like a link is left out, because a spammer
    could register it to send advertisements to any address.
    """

    def __init__(self, sender: NameEmail, links: Links, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._sender = Address(sender.name, *_deliverable(sender.email))
        self._links = links
        self._templates = Environment(
            loader=PackageLoader("auth_service.mail"),
            autoescape=select_autoescape(("html",), default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        self._templates.filters["datetime"] = _format_datetime
        # Load all templates now, because reading a file later would block the event loop.
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def confirm_email(self, to: str, name: str, *, token: str, expires: datetime) -> Mail:
        """To a new user."""
        link = self._links.confirm_email(token)
        return self._compose(MailKind.CONFIRM_EMAIL, to, name, link=link, token=token, expires=expires)

    def confirm_new_email(self, to: str, name: str, *, token: str, expires: datetime) -> Mail:
        """To the new address after a change."""
        link = self._links.confirm_email(token)
        return self._compose(MailKind.CONFIRM_NEW_EMAIL, to, name, link=link, token=token, expires=expires)

    def email_change_notice(self, to: str, name: str, *, when: datetime, undo: Undo | None) -> Mail:
        """To a former address when a change is requested, perhaps by an intruder. The token cancels it."""
        return self._compose(MailKind.EMAIL_CHANGE_NOTICE, to, name, when=when, **self._undo(undo))

    def email_changed_notice(self, to: str, name: str, *, when: datetime, undo: Undo | None) -> Mail:
        """To a former address after a change, which an intruder may have made. The token undoes it."""
        return self._compose(MailKind.EMAIL_CHANGED_NOTICE, to, name, when=when, **self._undo(undo))

    def _undo(self, undo: Undo | None) -> dict[str, object]:
        if undo is None:
            return {"link": None}
        token, expires = undo
        return {"link": self._links.undo_email(token), "token": token, "expires": expires}

    def email_restored_notice(self, to: str, name: str, *, when: datetime) -> Mail:
        """To the address that a former one has replaced. It has no link, because an intruder may read it."""
        return self._compose(MailKind.EMAIL_RESTORED_NOTICE, to, name, when=when)

    def change_to_taken_email(self, to: str, name: str) -> Mail:
        """To the owner of an address after another account requested to change to it. `name` is the owner's."""
        return self._compose(MailKind.CHANGE_TO_TAKEN_EMAIL, to, name)

    def reset_password(self, to: str, name: str, *, token: str, minutes: int, expires: datetime) -> Mail:
        """To a user who has forgotten the password. The token works for `minutes`, until `expires`."""
        link = self._links.reset_password(token)
        return self._compose(
            MailKind.RESET_PASSWORD, to, name, link=link, token=token, minutes=minutes, expires=expires
        )

    def password_changed_notice(self, to: str, name: str, *, when: datetime) -> Mail:
        """After a change or a reset, which an intruder may have made."""
        return self._compose(MailKind.PASSWORD_CHANGED_NOTICE, to, name, when=when)

    def registration_with_taken_email(self, to: str, name: str) -> Mail:
        """To the owner of an address after a registration with it. `name` is the owner's."""
        return self._compose(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, to, name)

    def registration_with_held_email(self, to: str, *, until: datetime) -> Mail:
        """To a former address of an account after a registration with it. The account's name may be an intruder's."""
        return self._compose(MailKind.REGISTRATION_WITH_HELD_EMAIL, to, "", until=until)

    def _compose(self, kind: MailKind, to: str, name: str, **content: object) -> Mail:
        subject = _SUBJECTS[kind]
        context = {
            "subject": subject,
            "name": _greeting_name(name),
            "links": self._links,
            **content,
        }
        message = EmailMessage(_POLICY)
        message["From"] = self._sender
        message["To"] = Address("", *_deliverable(to))
        message["Subject"] = subject
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = make_msgid(domain=self._sender.domain)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: prevents out-of-office replies
        message.set_content(self._render(f"{kind}.txt", context))
        message.add_alternative(self._render(f"{kind}.html", context), subtype="html")
        return Mail(kind, message)

    def _render(self, template: str, context: dict[str, object]) -> str:
        return self._templates.get_template(template).render(context)


def _deliverable(address: str) -> tuple[str, str]:
    """The local part, and the domain in ASCII (RFC 5890) for servers without SMTPUTF8."""
    if address.isascii():
        local, _, domain = address.rpartition("@")
        return local, domain
    valid = validate_email(address, check_deliverability=False)
    return valid.local_part, valid.ascii_domain


def _greeting_name(name: str) -> str | None:
    """The name on one line without invisible characters, or None if it looks like a link."""
    visible = (" " if unicodedata.category(character) in _INVISIBLE else character for character in name)
    text = " ".join("".join(visible).split())
    return None if not text or _LINK_LIKE.search(unicodedata.normalize("NFKC", text)) else text


def _format_datetime(when: datetime) -> str:
    utc = when.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"
