"""Mails through the stack's own mail sink, and through mail servers in this process for what that one never does."""

import asyncio
import contextlib
import email
import hashlib
import ipaddress
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from structlog.typing import EventDict

from auth_service.mail.links import Links
from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.mail.settings import MailSettings
from auth_service.mail.smtp import SmtpServer
from auth_service.metrics import MailMetrics
from embedded_stack import Stack
from service_kit.problems import ServiceUnavailable
from service_kit.retry import Backoff
from service_kit.settings import format_settings_error

TOKEN = "s3cret-T0ken_of-f0rty_three-characters-1234"
EXPIRES = datetime(2040, 1, 31, 12, 0, tzinfo=UTC)
FAST = Backoff(initial=0.02, maximum=0.1)
BASE = "https://tandem.example"


class Outbox:
    """A mailer's counters and what is told of it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = MailMetrics(self.registry)

    def counted(self, kind: MailKind, outcome: str) -> float:
        return self.registry.get_sample_value("auth_mails_total", {"kind": kind, "outcome": outcome}) or 0.0

    @property
    def waiting(self) -> float | None:
        return self.registry.get_sample_value("auth_mails_waiting")


class Sink:
    """The stack's mail sink, as somebody who reads mails sees it."""

    def __init__(self, address: str) -> None:
        self._client = httpx.AsyncClient(base_url=address, timeout=20)

    async def mails(self, to: str) -> list[dict[str, Any]]:
        answer = await self._client.get("/api/v1/search", params={"query": f"to:{to}"})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["messages"]
        return [(await self._client.get(f"/api/v1/message/{each['ID']}")).json() for each in found]

    async def mail(self, to: str) -> dict[str, Any]:
        """The one mail to this address, as soon as it is there."""
        await until(lambda: self.mails(to))
        (mail,) = await self.mails(to)
        return mail

    async def close(self) -> None:
        await self._client.aclose()


async def until(look: Callable[[], Awaitable[Any]], within: float = 20) -> None:
    """Wait for what `look` sees to be true."""
    deadline = time.monotonic() + within
    while not await look():
        assert time.monotonic() < deadline, f"not so within {within} s"
        await asyncio.sleep(0.02)


async def all_done(outbox: Outbox) -> bool:
    return outbox.waiting == 0


async def until_logged(logs: list[EventDict], event: str) -> None:
    async def seen() -> bool:
        return any(line["event"] == event for line in logs)

    await until(seen)


def someone() -> str:
    return f"ada.{uuid4().hex[:12]}@example.com"


@pytest.fixture
def composer() -> MailComposer:
    return MailComposer(MailSettings(port=1).auth_mail_from, Links(BASE))


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def server(stack: Stack) -> SmtpServer:
    stack.start("mail")
    return SmtpServer.at(stack.addresses["SMTP_URL"])


@pytest.fixture
async def sink(stack: Stack, server: SmtpServer) -> AsyncIterator[Sink]:
    sink = Sink(stack.addresses["MAIL_URL"])
    yield sink
    await sink.close()


@pytest.fixture
async def mailer(server: SmtpServer, outbox: Outbox) -> AsyncIterator[Mailer]:
    async with Mailer(server, outbox.metrics, backoff=FAST) as mailer:
        yield mailer


# --- what mails say

KINDS: dict[MailKind, Callable[[MailComposer, str], Mail]] = {
    MailKind.CONFIRM_EMAIL: lambda by, to: by.confirm_email(to, "Ada", token=TOKEN, expires=EXPIRES),
    MailKind.CONFIRM_NEW_EMAIL: lambda by, to: by.confirm_new_email(to, "Ada", token=TOKEN, expires=EXPIRES),
    MailKind.EMAIL_CHANGE_NOTICE: lambda by, to: by.email_change_notice(to, "Ada", when=EXPIRES),
    MailKind.RESET_PASSWORD: lambda by, to: by.reset_password(to, "Ada", token=TOKEN, minutes=10),
    MailKind.PASSWORD_CHANGED_NOTICE: lambda by, to: by.password_changed_notice(to, "Ada", when=EXPIRES),
    MailKind.REGISTRATION_WITH_TAKEN_EMAIL: lambda by, to: by.registration_with_taken_email(to, "Ada"),
}
SAYS = {
    MailKind.CONFIRM_EMAIL: [f"{BASE}/confirm-email#token={TOKEN}", "31 January 2040, 12:00 UTC"],
    MailKind.CONFIRM_NEW_EMAIL: [f"{BASE}/confirm-email#token={TOKEN}", "31 January 2040, 12:00 UTC"],
    MailKind.EMAIL_CHANGE_NOTICE: [f"{BASE}/forgot-password", "31 January 2040, 12:00 UTC"],
    MailKind.RESET_PASSWORD: [f"{BASE}/reset-password#token={TOKEN}", "10 minutes"],
    MailKind.PASSWORD_CHANGED_NOTICE: [f"{BASE}/forgot-password", "31 January 2040, 12:00 UTC"],
    MailKind.REGISTRATION_WITH_TAKEN_EMAIL: [f"{BASE}/login", f"{BASE}/forgot-password"],
}


@pytest.mark.parametrize("kind", list(MailKind))
async def test_every_kind_of_mail_arrives_as_text_and_html(
    kind: MailKind, composer: MailComposer, mailer: Mailer, sink: Sink, outbox: Outbox
) -> None:
    to = someone()
    mailer.send(KINDS[kind](composer, to))
    mail = await sink.mail(to)

    assert [each["Address"] for each in mail["To"]] == [to]
    assert mail["From"] == {"Name": "Tandem", "Address": "no-reply@tandem.example"}
    assert mail["Subject"].startswith("Tandem: ")
    assert mail["MessageID"].endswith("@tandem.example")
    assert mail["Text"].startswith("Hello Ada,")
    assert "Hello <bdi>Ada</bdi>," in mail["HTML"]
    for part in SAYS[kind]:
        assert part in mail["Text"]
        assert part in mail["HTML"]
    assert "<img" not in mail["HTML"]
    await until(lambda: all_done(outbox))
    assert outbox.counted(kind, "sent") == 1


def test_token_stands_alone_too(composer: MailComposer) -> None:
    for kind in (MailKind.CONFIRM_EMAIL, MailKind.CONFIRM_NEW_EMAIL, MailKind.RESET_PASSWORD):
        assert TOKEN in {line.strip() for line in text_of(KINDS[kind](composer, someone())).splitlines()}


def test_mails_say_that_a_program_wrote_them_when_and_for_how_long(composer: MailComposer) -> None:
    mail = composer.reset_password(someone(), "Ada", token=TOKEN, minutes=10)
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert abs(mail.message["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert mail.expires is not None
    assert timedelta(minutes=9) < mail.expires - datetime.now(UTC) <= timedelta(minutes=10)


def test_token_is_written_so_that_it_survives_in_an_address(composer: MailComposer) -> None:
    mail = composer.confirm_email(someone(), "Ada", token="a+b/c=&d", expires=EXPIRES)
    assert "token=a%2Bb%2Fc%3D%26d" in text_of(mail)


@pytest.mark.parametrize(
    ("name", "greeting"),
    [
        ("Ada\r\nBcc: everyone@example.org\r\n\r\nBuy", "Hello,"),
        ("Ada\r\nSubject: Buy", "Hello Ada Subject: Buy,"),
        ('Ada "the Countess", <Lovelace>', 'Hello Ada "the Countess", <Lovelace>,'),
        ("<script>alert(1)<!--", "Hello <script>alert(1)<!--,"),
        ("{{ 7 * 7 }}{% raw %}", "Hello {{ 7 * 7 }}{% raw %},"),
        ("Ωmega 漢字 🦆", "Hello Ωmega 漢字 🦆,"),
        ("עדה לאבלייס", "Hello עדה לאבלייס,"),
        ("Ada\u202eevil\u2066", "Hello Ada evil,"),
        ("Ada\x00\u2028Lovelace\ud800", "Hello Ada Lovelace,"),
        ("J.R.R. Tolkien Jr.", "Hello J.R.R. Tolkien Jr.,"),
        ("win at evil.example", "Hello,"),
        ("win at evil\u3002example", "Hello,"),
        ("https://evil", "Hello,"),
        (" \t ", "Hello,"),
    ],
)
async def test_name_can_neither_forge_the_mail_nor_advertise_in_it(
    name: str, greeting: str, composer: MailComposer, mailer: Mailer, sink: Sink
) -> None:
    to = someone()
    mailer.send(composer.registration_with_taken_email(to, name))
    mail = await sink.mail(to)

    assert mail["Text"].splitlines()[0] == greeting
    assert [each["Address"] for each in mail["To"]] == [to]
    assert (mail["Cc"], mail["Bcc"]) == ([], [])
    assert mail["Subject"] == "Tandem: you already have an account"
    assert "<script" not in mail["HTML"]
    assert "<Lovelace" not in mail["HTML"]


async def test_international_addresses_get_their_mail(composer: MailComposer, mailer: Mailer, sink: Sink) -> None:
    unique = uuid4().hex[:12]
    mailer.send(composer.registration_with_taken_email(f"ada.{unique}@straße.example", "Ada"))
    mailer.send(composer.registration_with_taken_email(f"grüße.{unique}@bücher.example", "Ada"))

    assert (await sink.mail(f"ada.{unique}"))["To"][0]["Address"] == f"ada.{unique}@xn--strae-oqa.example"
    assert (await sink.mail(f"grüße.{unique}"))["Text"].startswith("Hello Ada,")


# --- how they are sent


async def test_mail_waits_for_a_server_that_is_down(
    composer: MailComposer, mailer: Mailer, sink: Sink, stack: Stack, outbox: Outbox
) -> None:
    to = someone()
    await asyncio.to_thread(stack.kill, "mail")
    with capture_logs() as logs:
        mailer.send(composer.reset_password(to, "Ada", token=TOKEN, minutes=10))
        await until_logged(logs, "mail delayed")
        assert outbox.waiting == 1
        await asyncio.to_thread(stack.start, "mail")
        await sink.mail(to)
        await until(lambda: all_done(outbox))

    assert [line["event"] for line in logs][-1] == "mail sent"
    assert sum(line["event"] == "mail delayed" and line["log_level"] == "warning" for line in logs) == 1


async def test_mail_is_given_up_after_its_deadline(
    composer: MailComposer, outbox: Outbox, unused_tcp_port: int
) -> None:
    nobody = SmtpServer("127.0.0.1", unused_tcp_port)
    async with Mailer(nobody, outbox.metrics, backoff=FAST, give_up_seconds=0.1) as mailer:
        mailer.send(composer.registration_with_taken_email(someone(), "Ada"))
    assert outbox.counted(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, "given_up") == 1


async def test_mail_whose_link_has_expired_is_given_up(
    composer: MailComposer, outbox: Outbox, unused_tcp_port: int
) -> None:
    nobody = SmtpServer("127.0.0.1", unused_tcp_port)
    expires = datetime.now(UTC) + timedelta(milliseconds=100)
    async with Mailer(nobody, outbox.metrics, backoff=FAST) as mailer:
        mailer.send(composer.confirm_email(someone(), "Ada", token=TOKEN, expires=expires))
    assert outbox.counted(MailKind.CONFIRM_EMAIL, "given_up") == 1


async def test_full_mailer_refuses_and_takes_mails_again_when_there_is_room(
    composer: MailComposer, server: SmtpServer, sink: Sink, outbox: Outbox
) -> None:
    go = asyncio.Event()

    async def held() -> None:
        await go.wait()

    async with Mailer(server, outbox.metrics, capacity=2, backoff=FAST) as mailer:
        mailer.submit(MailKind.RESET_PASSWORD, held)
        mailer.submit(MailKind.RESET_PASSWORD, held)
        to = someone()
        with pytest.raises(ServiceUnavailable) as refusal:
            mailer.send(composer.registration_with_taken_email(to, "Ada"))
        assert refusal.value.headers["Retry-After"]
        go.set()
        await until(lambda: all_done(outbox))
        mailer.send(composer.registration_with_taken_email(to, "Ada"))
        await sink.mail(to)
    assert outbox.counted(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, "turned_away") == 1
    assert outbox.counted(MailKind.RESET_PASSWORD, "not_due") == 2


async def test_leaving_sends_what_is_waiting(
    composer: MailComposer, server: SmtpServer, sink: Sink, outbox: Outbox
) -> None:
    to = [someone() for _ in range(20)]
    async with Mailer(server, outbox.metrics, drain_seconds=20, backoff=FAST) as mailer:
        for each in to:
            mailer.send(composer.registration_with_taken_email(each, "Ada"))
    for each in to:
        assert len(await sink.mails(each)) == 1
    assert outbox.waiting == 0
    with pytest.raises(ServiceUnavailable):
        mailer.send(composer.registration_with_taken_email(someone(), "Ada"))


async def test_leaving_does_not_wait_for_a_dead_server(
    composer: MailComposer, outbox: Outbox, unused_tcp_port: int
) -> None:
    with capture_logs() as logs:
        nobody = SmtpServer("127.0.0.1", unused_tcp_port)
        async with Mailer(nobody, outbox.metrics, drain_seconds=0.1, backoff=FAST) as mailer:
            mailer.send(composer.registration_with_taken_email(someone(), "Ada"))
    assert outbox.counted(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, "dropped") == 1
    assert logs[-1]["event"] == "mail dropped"
    assert logs[-1]["message_id"]


async def test_job_whose_database_is_away_is_run_again(
    composer: MailComposer, mailer: Mailer, sink: Sink, outbox: Outbox
) -> None:
    to, runs = someone(), 0

    async def job() -> Mail:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OperationalError("SELECT", {"email": to}, Exception("gone away"))
        return composer.reset_password(to, "Ada", token=TOKEN, minutes=10)

    mailer.submit(MailKind.RESET_PASSWORD, job)
    await sink.mail(to)
    assert runs == 2


async def test_job_that_has_made_its_mail_is_not_run_again(
    composer: MailComposer, mailer: Mailer, sink: Sink, stack: Stack
) -> None:
    to, runs = someone(), 0

    async def job() -> Mail:
        nonlocal runs
        runs += 1
        return composer.reset_password(to, "Ada", token=TOKEN, minutes=10)

    await asyncio.to_thread(stack.kill, "mail")
    with capture_logs() as logs:
        mailer.submit(MailKind.RESET_PASSWORD, job)
        await until_logged(logs, "mail delayed")
    await asyncio.to_thread(stack.start, "mail")
    await sink.mail(to)
    assert runs == 1


async def test_submitting_returns_before_the_job_runs(mailer: Mailer, outbox: Outbox) -> None:
    ran = asyncio.Event()

    async def job() -> None:
        ran.set()

    mailer.submit(MailKind.RESET_PASSWORD, job)
    assert not ran.is_set()
    await asyncio.wait_for(ran.wait(), 5)


async def test_bug_in_a_job_ends_only_that_job(
    composer: MailComposer, mailer: Mailer, sink: Sink, outbox: Outbox
) -> None:
    to = someone()

    async def job() -> Mail:
        raise KeyError(f"{to} {TOKEN}")

    with capture_logs() as logs:
        mailer.submit(MailKind.RESET_PASSWORD, job)
        await until_logged(logs, "mail failed")
        mailer.send(composer.registration_with_taken_email(to, "Ada"))
        await sink.mail(to)
    failed = next(line for line in logs if line["event"] == "mail failed")
    assert re.search(r"KeyError at .*test_mail\.py:\d+", failed["reason"])
    assert to not in repr(logs)
    assert TOKEN not in repr(logs)
    assert outbox.counted(MailKind.RESET_PASSWORD, "failed") == 1


async def test_logs_tell_mails_apart_without_telling_whose_they_are(
    composer: MailComposer, mailer: Mailer, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    to = someone()
    mail = composer.reset_password(to, "Ada", token=TOKEN, minutes=10)
    with capture_logs() as logs:
        mailer.send(mail)
        await until_logged(logs, "mail sent")

    assert logs[-1] == {
        "event": "mail sent",
        "log_level": "info",
        "kind": "reset_password",
        "failures": 0,
        "message_id": mail.message_id,
        "recipient_hash": hashlib.sha256(to.encode()).hexdigest()[:12],
        "reason": None,
    }
    for secret in (to, TOKEN, "reset-password"):
        assert secret not in repr(logs)
        assert secret not in repr(mail)
    assert TOKEN not in caplog.text


# --- mail servers with a will of their own


class OwnServer:
    """A mail server that answers as it is told to, once for each reply, and then takes what comes."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.mails: list[EmailMessage] = []
        self.logins: list[Any] = []
        self.port = 0

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook for a mail that has arrived."""
        if self.replies:
            return self.replies.pop(0)
        content = envelope.original_content or b""
        self.mails.append(email.message_from_bytes(content, _class=EmailMessage, policy=policy.default))
        self.logins.append((session.ssl is not None, session.auth_data))
        return "250 OK"

    @contextlib.asynccontextmanager
    async def serving(self, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator["OwnServer"]:
        """`tls` is spoken from the start; STARTTLS is among aiosmtpd's `options`."""
        loop = asyncio.get_running_loop()
        serving = await loop.create_server(lambda: SMTP(self, **options), "127.0.0.1", 0, ssl=tls)
        self.port = serving.sockets[0].getsockname()[1]
        async with serving:
            yield self

    @property
    def plain(self) -> SmtpServer:
        return SmtpServer("127.0.0.1", self.port)


async def send_one(server: SmtpServer, outbox: Outbox, composer: MailComposer) -> list[EventDict]:
    """Send a mail and leave; what was logged."""
    with capture_logs() as logs:
        async with Mailer(server, outbox.metrics, drain_seconds=20, backoff=FAST) as mailer:
            mailer.send(composer.reset_password("ada@example.com", "Ada", token=TOKEN, minutes=10))
    return logs


async def test_server_that_asks_to_come_again_gets_the_same_mail_again(composer: MailComposer, outbox: Outbox) -> None:
    async with OwnServer("451 4.7.1 <ada@example.com> greylisted", "421 busy").serving() as server:
        logs = await send_one(server.plain, outbox, composer)
    assert [line["failures"] for line in logs if line["event"] == "mail sent"] == [2]
    assert len(server.mails) == 1
    assert server.mails[0]["Message-ID"] == logs[-1]["message_id"]


async def test_refusal_is_final_and_what_the_server_says_of_the_recipient_is_not_logged(
    composer: MailComposer, outbox: Outbox
) -> None:
    async with OwnServer("550 5.1.1 <ada@example.com>: no such user").serving() as server:
        logs = await send_one(server.plain, outbox, composer)
    assert outbox.counted(MailKind.RESET_PASSWORD, "refused") == 1
    assert [line["reason"] for line in logs] == ["SMTPDataError 550"]
    assert "ada@example.com" not in repr(logs)


async def test_one_slow_recipient_holds_nobody_up(composer: MailComposer, outbox: Outbox) -> None:
    slow = Backoff(initial=60.0, maximum=60.0)
    async with (
        OwnServer("451 greylisted").serving() as server,
        Mailer(server.plain, outbox.metrics, concurrency=1, drain_seconds=0, backoff=slow) as mailer,
    ):
        mailer.send(composer.registration_with_taken_email(someone(), "Ada"))
        mailer.send(composer.reset_password(someone(), "Ada", token=TOKEN, minutes=10))

        async def second_is_sent() -> bool:
            return outbox.counted(MailKind.RESET_PASSWORD, "sent") == 1

        await until(second_is_sent)
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
    async with OwnServer().serving(**options) as server:
        await send_one(SmtpServer.at(f"smtp+starttls://{LOGIN}@127.0.0.1:{server.port}"), outbox, composer)
    assert server.logins == [(True, "in")]


async def test_tls_from_the_start_and_login(
    composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext
) -> None:
    # aiosmtpd knows of TLS by STARTTLS only.
    options = {"authenticator": accept, "auth_require_tls": False}
    async with OwnServer().serving(tls=server_certificate, **options) as server:
        await send_one(SmtpServer.at(f"smtps://{LOGIN}@127.0.0.1:{server.port}"), outbox, composer)
    assert [login for _, login in server.logins] == ["in"]


async def test_certificate_nobody_vouches_for_is_not_accepted(
    composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with OwnServer().serving(tls_context=server_certificate) as server:
        careful = SmtpServer("127.0.0.1", server.port, "starttls")
        with capture_logs() as logs:
            async with Mailer(careful, outbox.metrics, drain_seconds=0, backoff=FAST) as mailer:
                mailer.send(composer.registration_with_taken_email(someone(), "Ada"))
                await until_logged(logs, "mail delayed")
    assert server.mails == []
    assert "SSL" in logs[0]["reason"]


async def test_server_without_starttls_gets_no_mail_in_clear(composer: MailComposer, outbox: Outbox) -> None:
    async with OwnServer().serving() as server:
        await send_one(SmtpServer.at(f"smtp+starttls://127.0.0.1:{server.port}"), outbox, composer)
    assert server.mails == []
    assert outbox.counted(MailKind.RESET_PASSWORD, "refused") == 1


async def test_wrong_password_is_told_once_and_not_quoted(
    composer: MailComposer, outbox: Outbox, server_certificate: ssl.SSLContext
) -> None:
    options = {"tls_context": server_certificate, "authenticator": accept, "auth_required": True}
    async with OwnServer().serving(**options) as server:
        address = f"smtp+starttls://tandem:hunter22@127.0.0.1:{server.port}"
        logs = await send_one(SmtpServer.at(address), outbox, composer)
    assert [line["reason"] for line in logs] == ["SMTPAuthenticationError 535"]
    assert "hunter22" not in repr(logs) + repr(SmtpServer.at(address))


# --- settings


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
def test_what_is_no_mail_server_is_said_without_the_password(address: str) -> None:
    with pytest.raises(ValidationError) as error:
        MailSettings(port=1, auth_smtp_url=address)  # type: ignore[arg-type]  # as the environment has it
    assert format_settings_error(error.value).startswith("error: the configuration is not valid: AUTH_SMTP_URL: ")
    assert "hunter22" not in format_settings_error(error.value) + str(error.value)


@pytest.mark.parametrize(
    "address", ["tandem.example", "ftp://x.example", "http://", "https://x?y", "https://x y", "https://x:p"]
)
def test_what_is_no_public_address_is_refused(address: str) -> None:
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


def text_of(mail: Mail) -> str:
    part = mail.message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())
