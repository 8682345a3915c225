"""Background tasks of auth-service are restarted."""

import pytest

from auth_service.housekeeping import Housekeeper
from auth_service.outbox.worker import OutboxWorker
from auth_service.settings import Settings
from service_kit.event_loop import EventLoopMetrics
from support.auth_app import client_of, running_app
from support.polling import eventually
from support.task_failures import FAILURES, Failure, fail_first_run, restarts

TASKS = {
    "housekeeping": (Housekeeper, "run"),
    "mails": (OutboxWorker, "run"),
    "event-loop-lag": (EventLoopMetrics, "watch"),
}


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
