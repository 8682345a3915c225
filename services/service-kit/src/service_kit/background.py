"""Supervision of background tasks.

A task that is not awaited can end unnoticed: it returns, it raises, or a library cancels it (aiokafka leaks the
`CancelledError` of its own tasks). The process then looks alive and does nothing. So each long-lived task runs under
the `Supervisor` of its application, which restarts the task or ends the process.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Any, Protocol, Self

import structlog
from prometheus_client import CollectorRegistry

from service_kit.error_texts import error_text
from service_kit.metrics import BackgroundTaskMetrics
from service_kit.retry import Backoff

log = structlog.get_logger(__name__)

# sysexits.h
EXIT_SOFTWARE = 70
RESTART_BACKOFF = Backoff(initial=0.5, maximum=30.0)
# A library may swallow a cancellation (aiokafka does while it closes), so it is repeated.
_CANCEL_AGAIN_SECONDS = 5.0

Work = Callable[[], Coroutine[Any, Any, None]]


class TaskEnded(Exception):  # noqa: N818 - an event, not always an error
    """A task returned or was cancelled unexpectedly."""


class EndProcess(Protocol):
    def __call__(self, reason: str, error: BaseException | None = None, /, *, code: int = EXIT_SOFTWARE) -> object: ...


def end_process(reason: str, error: BaseException | None = None, *, code: int = EXIT_SOFTWARE) -> None:
    """End the process immediately, without cleanup, which may hang. A process manager starts it again."""
    log.critical("ending the process", reason=reason, exc_info=error, notable=True)
    os._exit(code)


class OnFailure(Enum):
    """What to do when a task ends unexpectedly."""

    RESTART = "restart"  # after a delay that grows with each failure
    EXIT = "exit"  # end the process with exit code 70


class Supervisor:
    """Runs the background tasks of one application.

    `end` ends the process. Restarts are counted in `background_task_restarts_total`.
    """

    def __init__(self, registry: CollectorRegistry, end: EndProcess = end_process) -> None:
        self.metrics = BackgroundTaskMetrics(registry)
        self.end = end

    def task(
        self,
        name: str,
        work: Work,
        *,
        on_failure: OnFailure = OnFailure.RESTART,
        may_finish: bool = False,
        request_stop: Callable[[], object] | None = None,
    ) -> "BackgroundTask":
        """A task that runs `work` during an `async with` block.

        With `may_finish` the work may return; otherwise returning is a failure, too. At the end of the block
        `request_stop` asks the work to return; without it the work is cancelled.
        """
        return BackgroundTask(self, name, work, on_failure, may_finish=may_finish, request_stop=request_stop)


class BackgroundTask:
    """Created by `Supervisor.task`. Where no `async with` block fits, call `start` once, and `stop` at the end."""

    def __init__(
        self,
        supervisor: Supervisor,
        name: str,
        work: Work,
        on_failure: OnFailure,
        *,
        may_finish: bool,
        request_stop: Callable[[], object] | None,
    ) -> None:
        self.name = name
        self._supervisor = supervisor
        self._work = work
        self._on_failure = on_failure
        self._may_finish = may_finish
        self._request_stop = request_stop
        self._task: asyncio.Task[None] | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._started_at = 0.0
        self._failures = 0
        self._stopping = False

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        if self._on_failure is OnFailure.RESTART:
            self._supervisor.metrics.begin(self.name)
        self._run()

    async def stop(self) -> None:
        """End the task. Returns when it has ended."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._task is None:
            return
        if self._request_stop is not None:
            self._request_stop()
            await asyncio.wait([self._task])
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_AGAIN_SECONDS)

    def _run(self) -> None:
        self._started_at = time.monotonic()
        self._task = asyncio.create_task(self._work(), name=self.name)
        # A callback, because a task that awaits this one could be cancelled, too.
        self._task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        may_end = self._stopping or (self._may_finish and not task.cancelled())
        if error is None and may_end:
            return
        reason = str(failure_of(task)) if error is None else error_text(error)
        if self._on_failure is OnFailure.EXIT:
            self._supervisor.end(f"background task {self.name} ended: {reason}", error)
        elif self._stopping:
            log.warning("background task failed while stopping", task=self.name, reason=reason, exc_info=error)
        else:
            self._schedule_restart(reason, error)

    def _schedule_restart(self, reason: str, error: BaseException | None) -> None:
        if time.monotonic() - self._started_at > RESTART_BACKOFF.maximum:
            self._failures = 0
        self._failures += 1
        delay = RESTART_BACKOFF.delay(self._failures)
        self._supervisor.metrics.restarts.labels(self.name).inc()
        log.warning(
            "background task ended, restarting it",
            task=self.name,
            reason=reason,
            retry_seconds=round(delay, 2),
            exc_info=error,
            notable=True,
        )
        self._restart = asyncio.get_running_loop().call_later(delay, self._run)


def log_unhandled(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """For `loop.set_exception_handler`: log an error that no code awaits, such as that of a forgotten task.

    asyncio's own handler logs the `repr` of the future, which has that of its error, and thus values of rows. So do
    the arguments in `Exception in callback f(…)`.
    """
    future = context.get("task") or context.get("future")
    name = f": {future.get_name()}" if isinstance(future, asyncio.Task) else ""
    message = str(context["message"]).partition("(")[0].rstrip()
    logging.getLogger("asyncio").error("%s%s", message, name, exc_info=context.get("exception"))


def failure_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Why a task has ended unexpectedly: its error, or `TaskEnded`. None while it runs."""
    if not task.done():
        return None
    if task.cancelled():
        return TaskEnded(f"{task.get_name()} was cancelled")
    return task.exception() or TaskEnded(f"{task.get_name()} returned")


def _is_being_cancelled() -> bool:
    """Whether a cancellation of the current task is pending."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def stray_cancellations(error: type[Exception] = TaskEnded) -> Iterator[None]:
    """Raise `error` instead of a `CancelledError` if the current task is not being cancelled.

    Such a `CancelledError` comes from another task that the block awaits: it is a failure of that task.
    """
    try:
        yield
    except asyncio.CancelledError as cancellation:
        if _is_being_cancelled():
            raise
        raise error("a task that was awaited was cancelled") from cancellation
