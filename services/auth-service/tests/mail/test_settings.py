"""Settings of mail."""

import pytest
from pydantic import ValidationError

from auth_service.mail.settings import MailSettings
from auth_service.mail.smtp import SmtpServer
from service_kit.settings import format_settings_error


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("smtp://mail:1025", SmtpServer("mail", 1025)),
        ("smtp://relay.example.com", SmtpServer("relay.example.com", 25)),
        ("smtp://me:secret@localhost", SmtpServer("localhost", 25, "none", "me", "secret")),
        ("smtp+starttls://me:s%40%2F@h.example", SmtpServer("h.example", 587, "starttls", "me", "s@/")),
        ("smtps://me%40x:secret@h.example/", SmtpServer("h.example", 465, "tls", "me@x", "secret")),
        ("smtp://[::1]:2525", SmtpServer("::1", 2525)),
    ],
)
def test_addresses_of_mail_servers(address: str, server: SmtpServer) -> None:
    assert SmtpServer.at(address) == server


@pytest.mark.parametrize(
    "address",
    [
        "http://mail:1025",
        "mail:1025",
        "smtp://",
        "smtp://mail:port",
        "smtp://mail:99999",
        "smtp://mail/folder",
        "smtps://hunter22@mail",
        "smtps://:hunter22@mail",
        "smtp://me:hunter22@relay.example.com",
        "smtp://me:hunter22@mail:x",
    ],
)
def test_error_of_an_invalid_mail_server_does_not_contain_the_password(address: str) -> None:
    with pytest.raises(ValidationError) as error:
        MailSettings(port=1, auth_smtp_url=address)  # type: ignore[arg-type]  # as the environment has it
    assert format_settings_error(error.value).startswith("error: the configuration is not valid: AUTH_SMTP_URL: ")
    assert "hunter22" not in format_settings_error(error.value) + str(error.value)


@pytest.mark.parametrize(
    "address", ["tandem.example", "ftp://x.example", "http://", "https://x?y", "https://x y", "https://x:p"]
)
def test_invalid_public_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="not a web address"):
        MailSettings(port=1, auth_public_url=address)


def test_settings_of_mail_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_SMTP_URL", "smtp://mail:1025")
    monkeypatch.setenv("AUTH_MAIL_FROM", "The Tandem people <post@tandem.example>")
    monkeypatch.setenv("AUTH_PUBLIC_URL", "https://tandem.example/app/")
    settings = MailSettings(port=1)
    assert settings.auth_smtp_url.get_secret_value() == "smtp://mail:1025"
    assert (settings.auth_mail_from.name, settings.auth_mail_from.email) == ("The Tandem people", "post@tandem.example")
    assert settings.auth_public_url == "https://tandem.example/app"


def test_sender_without_an_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="auth_mail_from"):
        MailSettings(port=1, auth_mail_from="Tandem")  # type: ignore[arg-type]  # as the environment has it
