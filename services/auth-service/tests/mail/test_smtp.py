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

from auth_service.mail.messages import MailComposer
from auth_service.mail.smtp import MailRefused, MailServerTrouble, SmtpServer
from support.mails import ScriptedServer


async def deliver(server: SmtpServer, composer: MailComposer) -> None:
    await server.deliver(composer.registration_with_taken_email("ada@example.com", "Ada").message)


async def test_transient_reply_is_trouble(composer: MailComposer) -> None:
    async with ScriptedServer("451 4.7.1 <ada@example.com> greylisted").serving() as server:
        with pytest.raises(MailServerTrouble) as trouble:
            await deliver(server.plain, composer)
        assert str(trouble.value) == "SMTPDataError 451"
        await deliver(server.plain, composer)
    assert len(server.mails) == 1


async def test_permanent_reply_is_a_refusal_and_is_not_quoted(composer: MailComposer) -> None:
    async with ScriptedServer("550 5.1.1 <ada@example.com>: no such user").serving() as server:
        with pytest.raises(MailRefused) as refusal:
            await deliver(server.plain, composer)
    assert str(refusal.value) == "SMTPDataError 550"


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


async def test_starttls_and_login(composer: MailComposer, server_certificate: ssl.SSLContext) -> None:
    options = {"tls_context": server_certificate, "authenticator": accept, "auth_required": True}
    async with ScriptedServer().serving(**options) as server:
        await deliver(SmtpServer.at(f"smtp+starttls://{LOGIN}@127.0.0.1:{server.port}"), composer)
    assert server.logins == [(True, "in")]


async def test_tls_from_the_start_and_login(composer: MailComposer, server_certificate: ssl.SSLContext) -> None:
    # aiosmtpd knows of TLS by STARTTLS only.
    options = {"authenticator": accept, "auth_require_tls": False}
    async with ScriptedServer().serving(tls=server_certificate, **options) as server:
        await deliver(SmtpServer.at(f"smtps://{LOGIN}@127.0.0.1:{server.port}"), composer)
    assert [login for _, login in server.logins] == ["in"]


async def test_untrusted_certificate_is_refused(
    composer: MailComposer, server_certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with ScriptedServer().serving(tls_context=server_certificate) as server:
        with pytest.raises(MailServerTrouble, match="SSL"):
            await deliver(SmtpServer("127.0.0.1", server.port, "starttls"), composer)
    assert server.mails == []


async def test_server_without_starttls_gets_no_unencrypted_mail(composer: MailComposer) -> None:
    async with ScriptedServer().serving() as server:
        with pytest.raises(MailRefused):
            await deliver(SmtpServer.at(f"smtp+starttls://127.0.0.1:{server.port}"), composer)
    assert server.mails == []


async def test_wrong_password_is_reported_without_the_password(
    composer: MailComposer, server_certificate: ssl.SSLContext
) -> None:
    options = {"tls_context": server_certificate, "authenticator": accept, "auth_required": True}
    async with ScriptedServer().serving(**options) as server:
        address = f"smtp+starttls://tandem:hunter22@127.0.0.1:{server.port}"
        with pytest.raises(MailRefused) as refusal:
            await deliver(SmtpServer.at(address), composer)
    assert str(refusal.value) == "SMTPAuthenticationError 535"
    assert "hunter22" not in repr(SmtpServer.at(address))
