"""A background task that ends is restarted, or ends the process."""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pymongo.errors import DuplicateKeyError
from structlog.testing import capture_logs

from service_kit import background
from service_kit.background import (
    EXIT_SOFTWARE,
    OnFailure,
    Supervisor,
    TaskEnded,
    failure_of,
    log_unhandled,
    stray_cancellations,
)
from service_kit.retry import Backoff
from support.logs import configured_logging
from support.polling import eventually
from support.task_failures import FAILURES, Failure, RecordedExits

REASONS: dict[Failure, str] = {
    "cancelled": "work was cancelled",
    "raises": "RuntimeError('ended by a test')",
    "returns": "work returned",
}


class Work:
    """Ends in the way that a test asks for."""

    def __init__(self) -> None:
        self.runs = 0
        self._end: asyncio.Future[None] | None = None

    async def __call__(self) -> None:
        self.runs += 1
        self._end = asyncio.get_running_loop().create_future()
        await self._end

    async def end(self, how: Failure) -> None:
        """The run that is under way."""

        async def is_running() -> bool:
            return self._end is not None and not self._end.done()

        await eventually(is_running)
        assert self._end is not None
        match how:
            case "cancelled":
                (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "work")
                task.cancel()
            case "raises":
                self._end.set_exception(RuntimeError("ended by a test"))
            case "returns":
                self._end.set_result(None)

    async def run_again(self, runs: int) -> None:
        async def so_far() -> int:
            return self.runs

        await eventually(so_far, lambda seen: seen == runs)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def ends() -> RecordedExits:
    return RecordedExits()


@pytest.fixture
def supervisor(registry: CollectorRegistry, ends: RecordedExits, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(background, "RESTART_BACKOFF", Backoff(initial=0.02, maximum=30.0))
    return Supervisor(registry, ends)


def restarts(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("background_task_restarts_total", {"task": "work"})


@pytest.mark.parametrize("how", FAILURES)
async def test_ended_task_is_restarted_counted_and_logged(
    supervisor: Supervisor, registry: CollectorRegistry, how: Failure
) -> None:
    work = Work()
    async with supervisor.task("work", work):
        assert restarts(registry) == 0
        with capture_logs() as logs:
            await work.end(how)
            await work.run_again(2)
            await work.end(how)
            await work.run_again(3)
        assert restarts(registry) == 2
    assert [(line["log_level"], line["task"], line["reason"]) for line in logs] == [
        ("warning", "work", REASONS[how])
    ] * 2
    assert logs[0]["retry_seconds"] <= 0.02 < logs[1]["retry_seconds"] + 0.01
    assert work.runs == 3


@pytest.mark.parametrize("how", FAILURES)
async def test_ended_task_ends_the_process(supervisor: Supervisor, ends: RecordedExits, how: Failure) -> None:
    work = Work()
    async with supervisor.task("work", work, on_failure=OnFailure.EXIT):
        await work.end(how)
        assert await ends.first() == (f"background task work ended: {REASONS[how]}", EXIT_SOFTWARE)
    assert (work.runs, len(ends.reasons)) == (1, 1)


@asynccontextmanager
async def silent(supervisor: Supervisor, registry: CollectorRegistry, ends: RecordedExits) -> AsyncIterator[None]:
    """Nothing is logged, counted or ended."""
    with capture_logs() as logs:
        yield
    assert (logs, restarts(registry) or 0, ends.reasons) == ([], 0, [])


@pytest.mark.parametrize("on_failure", OnFailure)
async def test_stop_by_the_owner_is_not_a_failure(
    supervisor: Supervisor, registry: CollectorRegistry, ends: RecordedExits, on_failure: OnFailure
) -> None:
    work, stopping = Work(), asyncio.Event()

    async def until_asked() -> None:
        await stopping.wait()
        await asyncio.sleep(0)

    async with silent(supervisor, registry, ends):
        async with supervisor.task("work", work, on_failure=on_failure):
            await work.run_again(1)
        async with supervisor.task("work", until_asked, on_failure=on_failure, request_stop=stopping.set):
            pass


async def test_task_that_may_finish_is_restarted_only_after_a_failure(
    supervisor: Supervisor, registry: CollectorRegistry, ends: RecordedExits
) -> None:
    work = Work()
    async with silent(supervisor, registry, ends), supervisor.task("work", work, may_finish=True):
        await work.end("returns")
    async with supervisor.task("work", work, may_finish=True):
        await work.end("cancelled")
        await work.run_again(3)
        await work.end("raises")
        await work.run_again(4)
    assert restarts(registry) == 2


async def test_stopped_task_is_not_restarted(
    supervisor: Supervisor, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RESTART_BACKOFF", Backoff(initial=0.2, maximum=30.0))
    work, other = Work(), Work()
    async with supervisor.task("other", other):
        async with supervisor.task("work", work):
            await work.end("raises")

            async def counted() -> bool:
                return restarts(registry) == 1

            await eventually(counted)
        await other.end("raises")
        await other.run_again(2)
    assert work.runs == 1


@pytest.mark.parametrize("on_failure", OnFailure)
async def test_failure_while_stopping_is_logged(
    supervisor: Supervisor, ends: RecordedExits, on_failure: OnFailure
) -> None:
    async def fails_to_stop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("not stopped")

    with capture_logs() as logs:
        async with supervisor.task("work", fails_to_stop, on_failure=on_failure):
            await asyncio.sleep(0)
    if on_failure is OnFailure.EXIT:
        assert ends.reasons == [("background task work ended: RuntimeError('not stopped')", EXIT_SOFTWARE)]
    else:
        assert [line["event"] for line in logs] == ["background task failed while stopping"]


async def test_swallowed_cancellation_is_repeated(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_CANCEL_AGAIN_SECONDS", 0.02)
    swallowed = 0

    async def swallow() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    async with supervisor.task("work", swallow):
        await asyncio.sleep(0)
    assert swallowed == 2


async def test_delay_of_restarts_is_reset_after_a_long_run(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work()
    async with supervisor.task("work", work):
        for runs in (2, 3):
            await work.end("raises")
            await work.run_again(runs)
        monkeypatch.setattr(background, "RESTART_BACKOFF", Backoff(initial=0.02, maximum=0.0))
        with capture_logs() as logs:
            await work.end("raises")
            await work.run_again(4)
        assert logs[0]["retry_seconds"] == 0


async def test_failure_of_a_task() -> None:
    async def run(end: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
        task = asyncio.create_task(end(), name="work")
        assert failure_of(task) is None
        await asyncio.wait([task])
        return failure_of(task)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def raises() -> None:
        raise LookupError

    assert isinstance(await run(raises), LookupError)
    assert str(await run(cancelled)) == REASONS["cancelled"]
    assert str(await run(lambda: asyncio.sleep(0))) == REASONS["returns"]


async def test_cancellation_of_another_task_is_an_error() -> None:
    other = asyncio.create_task(asyncio.Event().wait())
    waiting = asyncio.Event()

    async def wait_for_other() -> None:
        with stray_cancellations(LookupError):
            waiting.set()
            await asyncio.shield(other)

    own = asyncio.create_task(wait_for_other())
    await waiting.wait()
    own.cancel()
    await asyncio.wait([own])
    assert own.cancelled()
    other.cancel()
    with pytest.raises(LookupError):
        await wait_for_other()
    with pytest.raises(TaskEnded), stray_cancellations():
        await other


async def test_timeout_cancels_the_current_task() -> None:
    async def wait_in_vain() -> None:
        async with asyncio.timeout(0):
            with stray_cancellations():
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait_in_vain()


# --- in a process of its own

PROGRAM = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from service_kit.background import OnFailure, Supervisor
from service_kit.logging import configure_logging

runs = []

async def work():
    runs.append(1)
    print("run", len(runs), flush=True)
    if len(runs) == 1:
        {end}
    await asyncio.Event().wait()

async def main():
    configure_logging("things", "INFO")
    supervisor = Supervisor(CollectorRegistry())
    async with supervisor.task("work", work, on_failure=OnFailure.{on_failure}):
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
STATEMENTS: dict[Failure, str] = {
    "cancelled": "asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)",
    "raises": "raise RuntimeError('ended by a test')",
    "returns": "return",
}


@asynccontextmanager
async def program(how: Failure, on_failure: OnFailure) -> AsyncIterator[asyncio.subprocess.Process]:
    code = PROGRAM.format(end=STATEMENTS[how], on_failure=on_failure.name)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(120):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.integration
@pytest.mark.parametrize("how", FAILURES)
async def test_process_ends_with_exit_code_70_and_the_reason(how: Failure) -> None:
    async with program(how, OnFailure.EXIT) as process:
        output, _ = await process.communicate()
        assert process.returncode == EXIT_SOFTWARE
        assert "ending the process" in output.decode()
        assert REASONS[how].split("(")[0] in output.decode()


@pytest.mark.integration
@pytest.mark.parametrize("how", FAILURES)
async def test_process_continues_with_a_restarted_task(how: Failure) -> None:
    async with program(how, OnFailure.RESTART) as process:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] != "run 2":
            line = await process.stdout.readline()
            assert line, lines
            lines.append(line.decode().strip())
        output, _ = await process.communicate(b"")
        assert (process.returncode, output) == (0, b"")
    assert any("background task ended, restarting it" in line for line in lines)


@pytest.mark.parametrize("forgotten", ["task", "callback"])
async def test_error_that_no_code_awaits_is_logged_without_values(
    forgotten: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """asyncio's own handler logs the `repr` of the task, or of the callback's arguments."""
    loop = asyncio.get_running_loop()
    error = DuplicateKeyError('E11000 duplicate key { email: "ada@example.com" }', 11000)

    async def fail() -> None:
        raise error

    def call(_error: Exception) -> None:
        raise error

    previous = loop.get_exception_handler()
    loop.set_exception_handler(log_unhandled)
    try:
        with configured_logging():
            if forgotten == "task":
                task = loop.create_task(fail(), name="forgotten")
                await asyncio.wait([task])
                del task
                gc.collect()
            else:
                loop.call_soon(call, error)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(previous)
    shown = map(json.loads, capsys.readouterr().out.splitlines())
    (line,) = [each for each in shown if each["logger"] == "asyncio"]
    assert "ada@example.com" not in str(line)
    assert line["exception"].endswith("[DuplicateKeyError 11000]")
    events = {
        "task": "Task exception was never retrieved: forgotten",
        "callback": f"Exception in callback {call.__qualname__}",
    }
    assert line["event"] == events[forgotten]
