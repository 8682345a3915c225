"""Background tasks that end by force, and what their service makes of it."""

import asyncio
import re
from typing import Any, Literal, get_args

import httpx
import pytest
from fastapi import FastAPI

from service_kit.background import EXIT_SOFTWARE
from support.polling import eventually

HowItEnds = Literal["cancelled", "raises", "returns"]
WAYS: tuple[HowItEnds, ...] = get_args(HowItEnds)


def end_first_run(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, how: HowItEnds) -> list[Any]:
    """Have `owner.name`, which is a task's work, end soon when it first run. Returns the runs so far."""
    work = getattr(owner, name)
    runs: list[Any] = []

    async def run(*arguments: Any) -> None:
        runs.append(arguments)
        if len(runs) > 1:
            await work(*arguments)
        elif how == "raises":
            raise RuntimeError("ended by a test")
        elif how == "cancelled":
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.Event().wait()

    monkeypatch.setattr(owner, name, run)
    return runs


def running_task(name: str) -> "asyncio.Task[Any] | None":
    """The task of this name that was started last and has not ended."""
    found = [task for task in asyncio.all_tasks() if task.get_name() == name and not task.done()]
    return found[-1] if found else None


async def cancel_from_outside(name: str) -> None:
    """The task of this name, as soon as it runs."""

    async def task() -> "asyncio.Task[Any] | None":
        return running_task(name)

    found = await eventually(task)
    assert found is not None
    found.cancel()


async def restarts(client: httpx.AsyncClient, task: str) -> float:
    text = (await client.get("/metrics")).text
    found = re.search(rf'^background_task_restarts_total{{task="{re.escape(task)}"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class Ends:
    """Takes note instead of ending the process."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, int]] = []

    @classmethod
    def of(cls, app: FastAPI) -> "Ends":
        app.state.supervisor.end = ends = cls()
        return ends

    def __call__(self, reason: str, _error: BaseException | None = None, *, code: int = EXIT_SOFTWARE) -> None:
        self.reasons.append((reason, code))

    async def first(self) -> tuple[str, int]:
        async def reasons() -> list[tuple[str, int]]:
            return self.reasons

        return (await eventually(reasons, within=30))[0]
