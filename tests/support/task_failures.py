"""Makes background tasks fail, and records how their service reacts."""

import asyncio
import inspect
import re
from collections.abc import Collection
from typing import Any, Literal, get_args

import httpx
import pytest
from fastapi import FastAPI

from service_kit.background import EXIT_SOFTWARE
from support.polling import eventually

Failure = Literal["cancelled", "raises", "returns"]
FAILURES: tuple[Failure, ...] = get_args(Failure)


def fail_first_run(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, how: Failure) -> list[Any]:
    """Make the first run of `owner.name`, a task's work, fail. Returns the list of runs, which grows."""
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


def running_task(name: str, besides: "Collection[asyncio.Task[Any]]" = ()) -> "asyncio.Task[Any] | None":
    """A running task with this name, which is none of `besides`: those that other applications of the tests run."""
    found = [task for task in asyncio.all_tasks() - {*besides} if task.get_name() == name and not task.done()]
    return found[0] if found else None


async def cancel_from_outside(name: str) -> None:
    """Cancel the task with this name as soon as it runs. (Cancelled before that, its work would never be called.)"""

    async def begun() -> "asyncio.Task[Any] | None":
        task = running_task(name)
        return task if task is not None and _has_begun(task.get_coro()) else None

    found = await eventually(begun)
    assert found is not None
    found.cancel()


def _has_begun(work: Any) -> bool:
    return inspect.getcoroutinestate(work) != inspect.CORO_CREATED


async def restarts(client: httpx.AsyncClient, task: str) -> float:
    text = (await client.get("/metrics")).text
    found = re.search(rf'^background_task_restarts_total{{task="{re.escape(task)}"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class RecordedExits:
    """Records exits instead of ending the process."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, int]] = []

    @classmethod
    def of(cls, app: FastAPI) -> "RecordedExits":
        app.state.supervisor.end = exits = cls()
        return exits

    def __call__(self, reason: str, _error: BaseException | None = None, *, code: int = EXIT_SOFTWARE) -> None:
        self.reasons.append((reason, code))

    async def first(self) -> tuple[str, int]:
        async def reasons() -> list[tuple[str, int]]:
            return self.reasons

        return (await eventually(reasons))[0]
