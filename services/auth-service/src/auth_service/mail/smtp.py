"""Delivery to a mail server by SMTP (RFC 5321), with TLS from the start, by STARTTLS (RFC 3207) or in clear.

`Undelivered` says what a second try is worth: `MailRefused` is the server's last word, `MailServerTrouble` may pass.
Neither quotes what the server said: that often holds the recipient's address.
"""

import ipaddress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib

# For one step of the conversation, not for all of it.
STEP_TIMEOUT_SECONDS = 10.0

Protection = Literal["none", "starttls", "tls"]
_SCHEMES: dict[str, tuple[Protection, int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}


class Undelivered(Exception):  # noqa: N818 - a state, not a fault
    """`args[0]` is the reason, fit for a log."""


class MailRefused(Undelivered):
    """The server won't take this mail, now or later (RFC 5321 §4.2.1: 5yz), or can't do what we ask of any server."""


class MailServerTrouble(Undelivered):
    """The server does not answer, or asks to try again later (4yz)."""


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
            raise ValueError("a password over smtp:// would travel in clear; write smtp+starttls:// or smtps://")
        return cls(parts.hostname, port or default_port, protection, username, password)

    async def deliver(self, message: EmailMessage) -> None:
        """Hand the mail over to the server. Raises `MailRefused` or `MailServerTrouble`."""
        smtp = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.protection == "tls",
            start_tls=self.protection == "starttls",
            # Else it asks the name server who we are, which may take long.
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
    """User and password, percent-decoded; both or neither."""
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
    # What has no reply code is either the network, or that the server lacks STARTTLS, AUTH or SMTPUTF8.
    return not isinstance(error, OSError)
