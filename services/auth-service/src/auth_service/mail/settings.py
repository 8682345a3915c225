"""Settings of mail."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, NameEmail, SecretStr

from auth_service.mail.smtp import SmtpServer
from service_kit.settings import ServiceSettings


def _check_smtp(address: SecretStr) -> SecretStr:
    SmtpServer.at(address.get_secret_value())
    return address


def _check_public_url(address: str) -> str:
    """Raises `ValueError` if a link can't begin with this address."""
    invalid = ValueError("not a web address; write http://host:port or https://host, with an optional path")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise invalid from None
    has_more = parts.query or parts.fragment or parts.username or any(character.isspace() for character in address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or has_more:
        raise invalid
    return address.rstrip("/")


# `smtp://host:port`, `smtp+starttls://user:password@host` or `smtps://user:password@host`.
SmtpAddress = Annotated[SecretStr, AfterValidator(_check_smtp)]
PublicUrl = Annotated[str, AfterValidator(_check_public_url)]


class MailSettings(ServiceSettings):
    auth_smtp_url: SmtpAddress = Field(
        default=SecretStr("smtp://127.0.0.1:11025"),
        description="Mail server: smtp:// (no TLS), smtp+starttls:// or smtps://, with user:password@ if needed.",
    )
    auth_mail_from: NameEmail = Field(
        default=NameEmail("Tandem", "no-reply@tandem.example"), description="Sender of mails: `Name <address>`."
    )
    auth_public_url: PublicUrl = Field(
        default="http://localhost:8080",
        description="Public address of the user interface. Links in mails begin with it.",
    )
