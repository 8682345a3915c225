"""Sends mails in the background.

The queue is in this process's memory. It is bounded, and lost when the process is killed; users can request most mails
again.
"""

import asyncio
import contextlib
import hashlib
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from auth_service.database import Clock, utc_now
from auth_service.mail.messages import Mail, MailKind
from auth_service.mail.smtp import MailRefused, MailServerTrouble, SmtpServer
from auth_service.metrics import MailMetrics
from service_kit.background import TaskEnded, stray_cancellations
from service_kit.problems import ServiceUnavailable
from service_kit.retry import Backoff, Retrier

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(initial=0.5, maximum=30.0)

# Writes a mail, or returns None if no mail is needed.
MailJob = Callable[[], Awaitable[Mail | None]]

_TRANSIENT_ERRORS = (
    MailServerTrouble,
    ServiceUnavailable,
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    TaskEnded,
)


class MailOutcome(StrEnum):
    SENT = "sent"
    NOT_DUE = "not_due"  # the job returned None
    REFUSED = "refused"  # by the mail server, permanently
    GIVEN_UP = "given_up"  # retried until the deadline
    FAILED = "failed"  # unexpected error
    DROPPED = "dropped"  # the process stopped
    TURNED_AWAY = "turned_away"  # the queue was full


# The outcome of a delivery, and the reason if there is one.
_Result = tuple[MailOutcome, str | None]


class Mailer:
    """Use it as an async context manager. On exit it waits `drain_seconds` for queued mails, and drops the rest.

    Each mail is a task. At most `concurrency` tasks use the database and the mail server at a time. A task that waits
    for a retry does not count, so that a slow server delays its own recipients only.
    """

    def __init__(
        self,
        server: SmtpServer,
        metrics: MailMetrics,
        *,
        capacity: int = 1000,
        concurrency: int = 4,
        drain_seconds: float = 4.0,
        backoff: Backoff = _BACKOFF,
        give_up_seconds: float = 600.0,
        clock: Clock = utc_now,
    ) -> None:
        self._server = server
        self._metrics = metrics
        self._capacity = capacity
        self._drain_seconds = drain_seconds
        self._backoff = backoff
        self._give_up_seconds = give_up_seconds
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[_Result]] = set()
        self._closed = False

    def send(self, mail: Mail) -> None:
        """Queue a mail. Returns immediately. Raises `ServiceUnavailable` if the queue is full."""

        async def job() -> Mail:
            return mail

        self.submit(mail.kind, job)

    def try_send(self, mail: Mail) -> None:
        """Queue a mail, or drop it if the queue is full: the action that caused it is already stored."""
        with contextlib.suppress(ServiceUnavailable):
            self.send(mail)

    def submit(self, kind: MailKind, job: MailJob) -> None:
        """Queue a job, and send the mail it returns, if any. Returns immediately.

        If the database is unavailable, the job is retried from its beginning, until it has returned. Metrics count it
        as `kind` until it has returned a mail. Raises `ServiceUnavailable` if the queue is full.
        """
        if self._closed or len(self._tasks) >= self._capacity:
            self._metrics.mails.labels(kind, MailOutcome.TURNED_AWAY).inc()
            raise ServiceUnavailable("Too many mails are waiting to be sent. Try again shortly.")
        self._metrics.waiting.inc()
        self._start(_Delivery(kind, job))

    def try_submit(self, kind: MailKind, job: MailJob) -> None:
        """Queue a job, or drop it if the queue is full."""
        with contextlib.suppress(ServiceUnavailable):
            self.submit(kind, job)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, delivery: "_Delivery") -> None:
        task = asyncio.create_task(self._deliver(delivery), name=f"mail {delivery.kind}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_done, delivery))

    def _on_done(self, delivery: "_Delivery", task: asyncio.Task[_Result]) -> None:
        """Count and log the outcome. A task that was cancelled before `__aexit__` is restarted with the same mail."""
        self._tasks.discard(task)
        if task.cancelled() and not self._closed:
            log.warning("mail interrupted, retrying", **delivery.log_fields())
            self._start(delivery)
            return
        outcome, reason = (MailOutcome.DROPPED, None) if task.cancelled() else task.result()
        self._metrics.waiting.dec()
        self._metrics.mails.labels(delivery.kind, outcome).inc()
        write = {MailOutcome.SENT: log.info, MailOutcome.NOT_DUE: log.info, MailOutcome.FAILED: log.error}
        write.get(outcome, log.warning)(f"mail {outcome}", **delivery.log_fields(), reason=reason)

    async def _deliver(self, delivery: "_Delivery") -> _Result:
        retrier = Retrier(
            on=_TRANSIENT_ERRORS,
            backoff=self._backoff,
            timeout=max(self._give_up_seconds - delivery.age, 0.0),
            on_failure=delivery.on_failure,
        )
        try:
            outcome = await retrier.run(partial(self._attempt, delivery))
        except _TRANSIENT_ERRORS:
            outcome = MailOutcome.GIVEN_UP
        except MailRefused as error:
            return MailOutcome.REFUSED, str(error)
        except Exception as error:  # noqa: BLE001 - the top of a task: any error is logged
            return MailOutcome.FAILED, _where(error)
        return outcome, delivery.last_failure if outcome is MailOutcome.GIVEN_UP else None

    async def _attempt(self, delivery: "_Delivery") -> MailOutcome:
        async with self._slots:
            if delivery.has_expired(self._clock()):
                return MailOutcome.GIVEN_UP
            with stray_cancellations():
                mail = await delivery.mail()
                if mail is None:
                    return MailOutcome.NOT_DUE
                await self._server.deliver(mail.message)
                return MailOutcome.SENT


class _Delivery:
    """A job and, after it has returned, its mail."""

    def __init__(self, kind: MailKind, job: MailJob) -> None:
        self._kind = kind
        self._job = job
        self._mail: Mail | None = None
        self._began = time.monotonic()
        self.failures = 0
        self.last_failure: str | None = None

    @property
    def kind(self) -> MailKind:
        return self._mail.kind if self._mail else self._kind

    async def mail(self) -> Mail | None:
        """The job's mail. A retry sends the same mail, so that a duplicate has the same Message-ID."""
        if self._mail is None:
            self._mail = await self._job()
        return self._mail

    @property
    def age(self) -> float:
        """In seconds."""
        return time.monotonic() - self._began

    def has_expired(self, now: datetime) -> bool:
        return self._mail is not None and self._mail.expires is not None and now >= self._mail.expires

    def on_failure(self, error: Exception, _delay: float) -> None:
        self.failures += 1
        self.last_failure = str(error) if isinstance(error, MailServerTrouble) else type(error).__name__
        # One warning per mail is enough.
        write = log.warning if self.failures == 1 else log.debug
        write("mail delayed", **self.log_fields(), reason=self.last_failure)

    def log_fields(self) -> dict[str, object]:
        """Fields for the log, without the recipient and the text.

        To find the mails to an address, compute its hash: `printf %s ADDRESS | sha256sum | cut -c-12`.
        """
        fields: dict[str, object] = {"kind": self.kind, "failures": self.failures}
        if self._mail is not None:
            digest = hashlib.sha256(self._mail.recipient.lower().encode()).hexdigest()
            fields |= {"message_id": self._mail.message_id, "recipient_hash": digest[:12]}
        return fields


def _where(error: BaseException) -> str:
    """The error's class and its line numbers. Its text may contain personal data of a statement or a mail."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)
