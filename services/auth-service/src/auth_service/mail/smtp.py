"""Delivers mails by SMTP (RFC 5321): with TLS, with STARTTLS (RFC 3207) or without encryption.

    Undelivered              the mail was not delivered
    ├── MailRefused          permanently
    └── MailServerTrouble    a retry may succeed

Their messages do not quote the server's reply, which often contains the recipient's address.
"""

import ipaddress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib

# For each command, not for the whole delivery.
STEP_TIMEOUT_SECONDS = 10.0

Protection = Literal["none", "starttls", "tls"]
_SCHEMES: dict[str, tuple[Protection, int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}


class Undelivered(Exception):  # noqa: N818 - a state, not a fault
    """`args[0]` is the reason, without personal data."""


class MailRefused(Undelivered):
    """A permanent error (RFC 5321 §4.2.1: 5yz), or the server lacks a feature that is required."""


class MailServerTrouble(Undelivered):
    """The server does not respond, or reports a transient error (4yz)."""


@dataclass(frozen=True)
class SmtpServer:
    host: str
    port: int
    protection: Protection = "none"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, address: str) -> Self:
        """The server at `smtp://`, `smtp+starttls://` or `smtps://` `[user:password@]host[:port]`.

        Raises `ValueError`, without quoting the address.
        """
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            raise _not_an_address() from None
        has_more = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or has_more:
            raise _not_an_address()
        protection, default_port = _SCHEMES[parts.scheme]
        username, password = _login(parts)
        if username and protection == "none" and not _is_this_machine(parts.hostname):
            raise ValueError("a password over smtp:// would not be encrypted; write smtp+starttls:// or smtps://")
        return cls(parts.hostname, port or default_port, protection, username, password)

    async def deliver(self, message: EmailMessage) -> None:
        """Raises `MailRefused` or `MailServerTrouble`."""
        smtp = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.protection == "tls",
            start_tls=self.protection == "starttls",
            # The default would be looked up in DNS, which may be slow.
            local_hostname=message["From"].addresses[0].domain,
            timeout=STEP_TIMEOUT_SECONDS,
        )
        try:
            async with smtp:
                await smtp.send_message(message)
        except (aiosmtplib.SMTPException, OSError) as error:
            kind = MailRefused if _is_final(error) else MailServerTrouble
            code = _reply_code(error)
            raise kind(f"{type(error).__name__} {code}" if code else type(error).__name__) from None


def _not_an_address() -> ValueError:
    return ValueError("not a mail server; write smtp://host:port, smtp+starttls://user:password@host or smtps://…")


def _login(parts: SplitResult) -> tuple[str | None, str | None]:
    """User and password, percent-decoded. Both or neither are set."""
    if bool(parts.username) != bool(parts.password):
        raise ValueError("a user without a password, or a password without a user; write user:password@")
    return (unquote(parts.username), unquote(parts.password)) if parts.username and parts.password else (None, None)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reply_code(error: Exception) -> int | None:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return error.recipients[0].code
    return error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None


def _is_final(error: Exception) -> bool:
    if (code := _reply_code(error)) is not None:
        return code >= 500
    # An error without a reply code is a network error, or the server lacks STARTTLS, AUTH or SMTPUTF8.
    return not isinstance(error, OSError)
