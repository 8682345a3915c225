"""A background task of the registrar that ends is restarted and counted."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from registrar.connectors import Connector
from registrar.main import create_app
from registrar.metrics import RegistrarMetrics
from registrar.reconcile_loop import Registrar
from registrar.settings import Settings
from registrar.state import ConnectorState
from service_kit.event_loop import EventLoopMetrics
from support.polling import eventually
from support.task_failures import FAILURES, Failure, fail_first_run, restarts, running_task

SETTINGS = Settings(kafka_bootstrap_servers="127.0.0.1:1", connect_url="http://127.0.0.1:1")
CONNECTOR = Connector("mysql", {"topic.prefix": "cdc"})
TASKS = {"connectors": (Registrar, "run"), "event-loop-lag": (EventLoopMetrics, "watch")}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("task", TASKS)
async def test_task_that_ends_is_restarted(monkeypatch: pytest.MonkeyPatch, task: str, how: Failure) -> None:
    owner, name = TASKS[task]
    runs = fail_first_run(monkeypatch, owner, name, how)
    app = create_app(SETTINGS, [CONNECTOR], {})

    async def times() -> int:
        return len(runs)

    async def problem() -> str:
        return str((await client.get("/v1/connectors")).json()[0]["problem"])

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registrar") as client,
    ):
        await eventually(times, lambda count: count == 2)
        assert await restarts(client, task) == 1
        # It polls Connect, which does not answer at this address.
        await eventually(problem, lambda current: current.startswith("unknown"))


async def test_repair_cancelled_before_it_starts_does_not_block_the_next_one() -> None:
    registrar = Registrar(SETTINGS, [CONNECTOR], {}, RegistrarMetrics(CollectorRegistry(), [CONNECTOR.name], {}))
    managed = registrar.managed[CONNECTOR.name]
    managed.state = ConnectorState(config=None)
    await registrar._check_rights_of(managed)
    unused: Any = None
    async with asyncio.TaskGroup() as repairs:
        registrar._decide(unused, managed, repairs)
        repair = running_task("repair mysql")
        assert repair is not None
        repair.cancel()
    assert repair.cancelled()
    assert registrar._repairing == set()
