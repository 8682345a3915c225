"""The queue of mails: retries, limits, outcomes and logs."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailComposer, MailKind
from auth_service.mail.smtp import SmtpServer
from embedded_stack import Stack
from service_kit.problems import ServiceUnavailable
from support.mails import (
    FAST,
    TOKEN,
    Outbox,
    Sink,
    new_address,
    until_done,
    until_logged,
)


async def test_mail_waits_for_a_server_that_is_down(
    composer: MailComposer, mailer: Mailer, sink: Sink, stack: Stack, outbox: Outbox
) -> None:
    to = new_address()
    await asyncio.to_thread(stack.kill, "mail")
    with capture_logs() as logs:
        mailer.send(composer.reset_password(to, "Ada", token=TOKEN, minutes=10))
        await until_logged(logs, "mail delayed")
        assert outbox.waiting == 1
        await asyncio.to_thread(stack.start, "mail")
        await sink.mail(to)
        await until_done(outbox)

    assert [line["event"] for line in logs][-1] == "mail sent"
    assert sum(line["event"] == "mail delayed" and line["log_level"] == "warning" for line in logs) == 1


async def test_mail_is_given_up_after_its_deadline(
    composer: MailComposer, outbox: Outbox, unused_tcp_port: int
) -> None:
    dead_server = SmtpServer("127.0.0.1", unused_tcp_port)
    async with Mailer(dead_server, outbox.metrics, backoff=FAST, give_up_seconds=0.1) as mailer:
        mailer.send(composer.registration_with_taken_email(new_address(), "Ada"))
    assert outbox.counted(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, "given_up") == 1


async def test_mail_with_an_expired_link_is_given_up(
    composer: MailComposer, outbox: Outbox, unused_tcp_port: int
) -> None:
    dead_server = SmtpServer("127.0.0.1", unused_tcp_port)
    expires = datetime.now(UTC) + timedelta(milliseconds=100)
    async with Mailer(dead_server, outbox.metrics, backoff=FAST) as mailer:
        mailer.send(composer.confirm_email(new_address(), "Ada", token=TOKEN, expires=expires))
    assert outbox.counted(MailKind.CONFIRM_EMAIL, "given_up") == 1


async def test_full_queue_refuses_mails_until_it_has_room(
    composer: MailComposer, server: SmtpServer, sink: Sink, outbox: Outbox
) -> None:
    go = asyncio.Event()

    async def held() -> None:
        await go.wait()

    async with Mailer(server, outbox.metrics, capacity=2, backoff=FAST) as mailer:
        mailer.submit(MailKind.RESET_PASSWORD, held)
        mailer.submit(MailKind.RESET_PASSWORD, held)
        to = new_address()
        with pytest.raises(ServiceUnavailable) as refusal:
            mailer.send(composer.registration_with_taken_email(to, "Ada"))
        assert refusal.value.headers["Retry-After"]
        go.set()
        await until_done(outbox)
        mailer.send(composer.registration_with_taken_email(to, "Ada"))
        await sink.mail(to)
    assert outbox.counted(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, "turned_away") == 1
    assert outbox.counted(MailKind.RESET_PASSWORD, "not_due") == 2


async def test_queued_mails_are_sent_on_exit(
    composer: MailComposer, server: SmtpServer, sink: Sink, outbox: Outbox
) -> None:
    to = [new_address() for _ in range(20)]
    async with Mailer(server, outbox.metrics, drain_seconds=20, backoff=FAST) as mailer:
        for each in to:
            mailer.send(composer.registration_with_taken_email(each, "Ada"))
    for each in to:
        assert len(await sink.mails(each)) == 1
    assert outbox.waiting == 0
    with pytest.raises(ServiceUnavailable):
        mailer.send(composer.registration_with_taken_email(new_address(), "Ada"))


async def test_exit_does_not_wait_for_a_dead_server(
    composer: MailComposer, outbox: Outbox, unused_tcp_port: int
) -> None:
    with capture_logs() as logs:
        dead_server = SmtpServer("127.0.0.1", unused_tcp_port)
        async with Mailer(dead_server, outbox.metrics, drain_seconds=0.1, backoff=FAST) as mailer:
            mailer.send(composer.registration_with_taken_email(new_address(), "Ada"))
    assert outbox.counted(MailKind.REGISTRATION_WITH_TAKEN_EMAIL, "dropped") == 1
    assert logs[-1]["event"] == "mail dropped"
    assert logs[-1]["message_id"]


async def test_job_is_retried_while_the_database_is_unavailable(
    composer: MailComposer, mailer: Mailer, sink: Sink
) -> None:
    to, runs = new_address(), 0

    async def job() -> Mail:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OperationalError("SELECT", {"email": to}, Exception("gone away"))
        return composer.reset_password(to, "Ada", token=TOKEN, minutes=10)

    mailer.submit(MailKind.RESET_PASSWORD, job)
    await sink.mail(to)
    assert runs == 2


async def test_retry_does_not_run_a_finished_job_again(
    composer: MailComposer, mailer: Mailer, sink: Sink, stack: Stack
) -> None:
    to, runs = new_address(), 0

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


async def test_submit_returns_before_the_job_runs(mailer: Mailer) -> None:
    ran = asyncio.Event()

    async def job() -> None:
        ran.set()

    mailer.submit(MailKind.RESET_PASSWORD, job)
    assert not ran.is_set()
    await asyncio.wait_for(ran.wait(), 5)


async def test_failing_job_does_not_affect_others(
    composer: MailComposer, mailer: Mailer, sink: Sink, outbox: Outbox
) -> None:
    to = new_address()

    async def job() -> Mail:
        raise KeyError(f"{to} {TOKEN}")

    with capture_logs() as logs:
        mailer.submit(MailKind.RESET_PASSWORD, job)
        await until_logged(logs, "mail failed")
        mailer.send(composer.registration_with_taken_email(to, "Ada"))
        await sink.mail(to)
    failed = next(line for line in logs if line["event"] == "mail failed")
    assert re.search(r"KeyError at .*test_mailer\.py:\d+", failed["reason"])
    assert to not in repr(logs)
    assert TOKEN not in repr(logs)
    assert outbox.counted(MailKind.RESET_PASSWORD, "failed") == 1


async def test_logs_identify_mails_without_personal_data(
    composer: MailComposer, mailer: Mailer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    to = new_address()
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
