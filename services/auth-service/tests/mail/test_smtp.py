"""Delivery to mail servers with scripted replies, TLS and login."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs
from structlog.typing import EventDict

from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import MailComposer, MailKind
from auth_service.mail.smtp import SmtpServer
from service_kit.retry import Backoff
from support.mails import FAST, TOKEN, Outbox, ScriptedServer, new_address, until_logged
from support.polling import eventually


async def send_one(server: SmtpServer, outbox: Outbox, composer: MailComposer) -> list[EventDict]:
    """Send a mail and leave; what was logged."""
    with capture_logs() as logs:
        async with Mailer(server, outbox.metrics, drain_seconds=20, backoff=FAST) as mailer:
            mailer.send(composer.reset_password("ada@example.com", "Ada", token=TOKEN, minutes=10))
    return logs


async def test_transient_refusal_is_retried_with_the_same_mail(composer: MailComposer, outbox: Outbox) -> None:
    async with ScriptedServer("451 4.7.1 <ada@example.com> greylisted", "421 busy").serving() as server:
        logs = await send_one(server.plain, outbox, composer)
    assert [line["failures"] for line in logs if line["event"] == "mail sent"] == [2]
    assert len(server.mails) == 1
    assert server.mails[0]["Message-ID"] == logs[-1]["message_id"]


async def test_refused_mail_is_not_retried_and_the_reply_is_not_logged(composer: MailComposer, outbox: Outbox) -> None:
    async with ScriptedServer("550 5.1.1 <ada@example.com>: no such user").serving() as server:
        logs = await send_one(server.plain, outbox, composer)
    assert outbox.counted(MailKind.RESET_PASSWORD, "refused") == 1
    assert [line["reason"] for line in logs] == ["SMTPDataError 550"]
    assert "ada@example.com" not in repr(logs)


async def test_slow_recipient_does_not_delay_others(composer: MailComposer, outbox: Outbox) -> None:
    slow = Backoff(initial=60.0, maximum=60.0)
    async with (
        ScriptedServer("451 greylisted").serving() as server,
        Mailer(server.plain, outbox.metrics, concurrency=1, drain_seconds=0, backoff=slow) as mailer,
    ):
        mailer.send(composer.registration_with_taken_email(new_address(), "Ada"))
        mailer.send(composer.reset_password(new_address(), "Ada", token=TOKEN, minutes=10))

        async def second_is_sent() -> bool:
            return outbox.counted(MailKind.RESET_PASSWORD, "sent") == 1

        await eventually(second_is_sent)
    assert len(server.mails) == 1


@pytest.fixture
def server_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS for a server at 127.0.0.1, by an authority that the machine trusts for the time of the test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = tmp_path / "chain.pem"
    chain.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def accept(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any) -> AuthResult:
    right = (login.login, login.password) == (b"tandem@example.com", b"p@ss/word")
    return AuthResult(success=right, handled=right, auth_data="in")


LOGIN = "tandem%40example.com:p%40ss%2Fword"


async def test_starttls_and_login(composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext) -> None:
    options = {"tls_context": server_certificate, "authenticator": accept, "auth_required": True}
    async with ScriptedServer().serving(**options) as server:
        await send_one(SmtpServer.at(f"smtp+starttls://{LOGIN}@127.0.0.1:{server.port}"), outbox, composer)
    assert server.logins == [(True, "in")]


async def test_tls_from_the_start_and_login(
    composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext
) -> None:
    # aiosmtpd knows of TLS by STARTTLS only.
    options = {"authenticator": accept, "auth_require_tls": False}
    async with ScriptedServer().serving(tls=server_certificate, **options) as server:
        await send_one(SmtpServer.at(f"smtps://{LOGIN}@127.0.0.1:{server.port}"), outbox, composer)
    assert [login for _, login in server.logins] == ["in"]


async def test_untrusted_certificate_is_refused(
    composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with ScriptedServer().serving(tls_context=server_certificate) as server:
        verifying = SmtpServer("127.0.0.1", server.port, "starttls")
        with capture_logs() as logs:
            async with Mailer(verifying, outbox.metrics, drain_seconds=0, backoff=FAST) as mailer:
                mailer.send(composer.registration_with_taken_email(new_address(), "Ada"))
                await until_logged(logs, "mail delayed")
    assert server.mails == []
    assert "SSL" in logs[0]["reason"]


async def test_server_without_starttls_gets_no_unencrypted_mail(composer: MailComposer, outbox: Outbox) -> None:
    async with ScriptedServer().serving() as server:
        await send_one(SmtpServer.at(f"smtp+starttls://127.0.0.1:{server.port}"), outbox, composer)
    assert server.mails == []
    assert outbox.counted(MailKind.RESET_PASSWORD, "refused") == 1


async def test_wrong_password_is_logged_once_without_the_password(
    composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext
) -> None:
    options = {"tls_context": server_certificate, "authenticator": accept, "auth_required": True}
    async with ScriptedServer().serving(**options) as server:
        address = f"smtp+starttls://tandem:hunter22@127.0.0.1:{server.port}"
        logs = await send_one(SmtpServer.at(address), outbox, composer)
    assert [line["reason"] for line in logs] == ["SMTPAuthenticationError 535"]
    assert "hunter22" not in repr(logs) + repr(SmtpServer.at(address))
