"""Comparisons that are started over HTTP: each is the command `reconcile` in a process of its own.

So it uses neither the event loop nor the memory of the sync, and its failure does not affect the sync. It has a low
priority (`nice`), so that the sync gets the processor first.
"""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import structlog

from service_kit.error_texts import error_reason
from sync_service.reconciliation.problems import ReconciliationNotFound, ReconciliationRunning
from sync_service.settings import Settings

log = structlog.get_logger(__name__)

KEPT = 20
_COMMAND = "import os; os.nice(10); from sync_service.cli import main; main()"
_END_SECONDS = 5.0


@dataclass
class Job:
    """`progress` by route: compared rows and the estimated total. `report` is that of the command, one item a route."""

    route: str | None
    repair: bool
    sample: int | None
    max_repairs: int | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: Literal["running", "finished", "failed"] = "running"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    progress: dict[str, tuple[int, int]] = field(default_factory=dict)
    report: list[dict[str, Any]] | None = None
    problem: str | None = None

    @property
    def arguments(self) -> list[str]:
        arguments = ["reconcile", "--json"]
        if self.route is not None:
            arguments.append(f"--route={self.route}")
        if self.repair:
            arguments.append("--repair")
        if self.max_repairs is not None:
            arguments.append(f"--max-repairs={self.max_repairs}")
        if self.sample is not None:
            arguments.append(f"--sample={self.sample}")
        return arguments


class Jobs:
    """Runs one job at a time, and keeps the latest `KEPT`.

    `routes` returns the content of the routes file that is in force; None: what the file has now.
    """

    def __init__(self, settings: Settings, routes: Callable[[], bytes | None] = lambda: None) -> None:
        self._routes = routes
        self._variables = {
            "MYSQL_URL": settings.mysql_url.get_secret_value(),
            "MONGODB_URL": settings.mongodb_url.get_secret_value(),
            **settings.kafka_variables(),
            "SYNC_GROUP_ID": settings.sync_group_id,
            "SYNC_ROUTES_FILE": str(settings.sync_routes_file),
            **_hash_secret(settings),
        }
        self._jobs: dict[str, Job] = {}
        self._running: asyncio.Task[None] | None = None
        self._closing = False

    def latest(self) -> Sequence[Job]:
        """The kept jobs, the newest first."""
        return tuple(reversed(self._jobs.values()))

    def get(self, job_id: str) -> Job:
        """Raises `ReconciliationNotFound`."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise ReconciliationNotFound from None

    def start(self, job: Job) -> None:
        """Raises `ReconciliationRunning`."""
        if self._running is not None and not self._running.done():
            raise ReconciliationRunning
        self._jobs[job.id] = job
        while len(self._jobs) > KEPT:
            del self._jobs[next(iter(self._jobs))]
        self._running = asyncio.create_task(self._compare(job), name="reconciliation")
        self._running.add_done_callback(partial(self._ended, job))

    async def close(self) -> None:
        """End the running job."""
        self._closing = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        """Set the state of a job, whatever ended its task."""
        if task.cancelled():
            job.problem = "the service was stopped" if self._closing else "it was cancelled"
        elif (error := task.exception()) is not None:
            job.problem = f"it failed: {error_reason(error)}"
        job.finished_at = datetime.now(UTC)
        job.state = "failed" if job.problem else "finished"
        log.info("reconciled", id=job.id, state=job.state, problem=job.problem, notable=True)

    def _environment(self) -> dict[str, str]:
        """A secret that this process reads from a file is passed to the command as a variable only."""
        files = {f"{name}_FILE" for name in self._variables}
        return {**{name: value for name, value in os.environ.items() if name not in files}, **self._variables}

    async def _compare(self, job: Job) -> None:
        with _file_in_memory(self._routes()) as routes:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _COMMAND, *job.arguments),
                env={**self._environment(), **({} if routes is None else {"SYNC_ROUTES_FILE": f"/dev/fd/{routes}"})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=() if routes is None else (routes,),
            )
        try:
            output, error_line = await asyncio.gather(_output(process), _follow(process, job))
            code = await process.wait()
        finally:
            await _end(process)
        if output:
            job.report = json.loads(output)["routes"]
        if code not in (0, 1) or job.report is None:
            job.problem = error_line or f"it ended with exit code {code}"


@contextmanager
def _file_in_memory(content: bytes | None) -> Iterator[int | None]:
    """The descriptor of a file with this content, for another process; None without content."""
    if content is None:
        yield None
        return
    with os.fdopen(os.memfd_create("routes.yaml"), "wb") as file:
        file.write(content)
        file.flush()
        yield file.fileno()


async def _output(process: asyncio.subprocess.Process) -> bytes:
    return b"" if process.stdout is None else await process.stdout.read()


async def _follow(process: asyncio.subprocess.Process, job: Job) -> str | None:
    """Read the progress. Returns the last other line, which is the error."""
    error_line = None
    while process.stderr is not None and (line := await process.stderr.readline()):
        text = line.decode(errors="replace").strip()
        if text.startswith("{"):
            progress = json.loads(text)
            if "done" in progress:
                job.progress[progress["route"]] = (progress["done"], progress["total"])
        elif text:
            error_line = text.removeprefix("error: ")
    return error_line


async def _end(process: asyncio.subprocess.Process) -> None:
    """Terminate the process, and kill it if it does not end in time."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _hash_secret(settings: Settings) -> Mapping[str, str]:
    secret = settings.sync_hash_secret
    return {} if secret is None else {"SYNC_HASH_SECRET": secret.get_secret_value()}
