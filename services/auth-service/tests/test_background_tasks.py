"""Background tasks of auth-service are restarted."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from auth_service.housekeeping import Housekeeper
from auth_service.mail.mailer import Mailer
from auth_service.mail.messages import Mail, MailKind
from auth_service.mail.smtp import SmtpServer
from auth_service.metrics import MailMetrics
from auth_service.settings import Settings
from service_kit.event_loop import EventLoopMetrics
from support.auth_app import client_of, running_app
from support.polling import eventually
from support.task_failures import FAILURES, Failure, cancel_from_outside, fail_first_run, restarts

TASKS = {"housekeeping": (Housekeeper, "run"), "event-loop-lag": (EventLoopMetrics, "watch")}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("task", TASKS)
async def test_task_that_ends_is_restarted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, task: str, how: Failure
) -> None:
    owner, name = TASKS[task]
    runs = fail_first_run(monkeypatch, owner, name, how)

    async def times() -> int:
        return len(runs)

    async with running_app(settings) as app, client_of(app) as client:
        await eventually(times, lambda seen: seen == 2)
        assert await restarts(client, task) == 1


async def test_cancelled_mail_is_retried() -> None:
    metrics, runs, go_on = MailMetrics(CollectorRegistry()), 0, asyncio.Event()

    async def job() -> Mail | None:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return None

    def counted(outcome: str) -> float:
        labels: dict[str, Any] = {"kind": MailKind.RESET_PASSWORD, "outcome": outcome}
        return metrics.mails.labels(**labels)._value.get()

    async with Mailer(SmtpServer("127.0.0.1", 1), metrics) as mailer:
        mailer.submit(MailKind.RESET_PASSWORD, job)
        # Before the task has begun, and while it runs.
        await cancel_from_outside(f"mail {MailKind.RESET_PASSWORD}")

        async def has_begun() -> bool:
            return runs == 1

        await eventually(has_begun)
        await cancel_from_outside(f"mail {MailKind.RESET_PASSWORD}")
        go_on.set()

        async def is_done() -> bool:
            return counted("not_due") == 1

        await eventually(is_done)
    assert (runs, counted("dropped")) == (2, 0)


async def test_stray_cancellation_is_retried() -> None:
    metrics, runs = MailMetrics(CollectorRegistry()), 0

    async def job() -> Mail | None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise asyncio.CancelledError
        return None

    async with Mailer(SmtpServer("127.0.0.1", 1), metrics) as mailer:
        mailer.submit(MailKind.RESET_PASSWORD, job)
    assert runs == 2
