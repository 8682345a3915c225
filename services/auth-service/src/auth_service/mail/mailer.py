"""Sends mails behind the requests that cause them.

What is waiting is in this process's memory: it is bounded, and lost when the process is killed. A person who misses
such a mail asks for it again.
"""

import asyncio
import hashlib
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from auth_service.database import Clock, now
from auth_service.mail.messages import Mail, MailKind
from auth_service.mail.smtp import MailRefused, MailServerTrouble, SmtpServer
from auth_service.metrics import MailMetrics
from service_kit.background import TaskEnded, stray_cancellations
from service_kit.problems import ServiceUnavailable

log = structlog.get_logger(__name__)

# Makes a mail, or finds that none is due.
MailJob = Callable[[], Awaitable[Mail | None]]

_PASSING_TROUBLE = (
    *(MailServerTrouble, ServiceUnavailable, OperationalError, InterfaceError, PoolTimeoutError),
    TaskEnded,
)


class Outcome(StrEnum):
    SENT = "sent"
    NOT_DUE = "not_due"  # the job made none
    REFUSED = "refused"  # by the mail server, for good
    GIVEN_UP = "given_up"  # tried until the deadline
    FAILED = "failed"  # the job raised what it should not
    DROPPED = "dropped"  # we were stopped
    TURNED_AWAY = "turned_away"  # too many were waiting


# How an errand ended, and why if it says more.
_End = tuple[Outcome, str | None]


@dataclass(frozen=True)
class Persistence:
    """How long to try, in seconds: the pause after the first failure, which doubles up to the longest, and the end."""

    first_pause: float = 0.5
    longest_pause: float = 30.0
    give_up_after: float = 600.0

    def pause(self, failures: int) -> float:
        """With jitter, so that what failed together does not come back together."""
        full = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 30))
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards no secret


class Mailer:
    """An async context manager: leaving it gives what is waiting `drain_seconds` to get away, and drops the rest.

    Every mail is a task of its own that takes its turn at the database and the mail server (`at_once` of them) and
    waits for its next try without one, so a recipient whose server is slow holds nobody up.
    """

    def __init__(
        self,
        server: SmtpServer,
        metrics: MailMetrics,
        *,
        capacity: int = 1000,
        at_once: int = 4,
        drain_seconds: float = 4.0,
        persistence: Persistence = Persistence(),
        clock: Clock = now,
    ) -> None:
        self._server = server
        self._metrics = metrics
        self._capacity = capacity
        self._drain_seconds = drain_seconds
        self._persistence = persistence
        self._clock = clock
        self._turns = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[_End]] = set()
        self._closed = False

    def send(self, mail: Mail) -> None:
        """Send this mail soon. Never waits; raises `ServiceUnavailable` if too many are waiting."""

        async def ready_made() -> Mail:
            return mail

        self.submit(mail.kind, ready_made)

    def submit(self, kind: MailKind, job: MailJob) -> None:
        """Run the job soon, and send the mail it returns, if any. Never waits.

        A job whose database is away is run again, from its beginning; one that has returned a mail is not. `kind`
        is what it is counted as while there is no mail. Raises `ServiceUnavailable` if too many are waiting.
        """
        if self._closed or len(self._tasks) >= self._capacity:
            self._metrics.mails.labels(kind, Outcome.TURNED_AWAY).inc()
            raise ServiceUnavailable("Too many mails are waiting to be sent. Try again shortly.")
        self._metrics.waiting.inc()
        self._begin(_Errand(kind, job))

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

    def _begin(self, errand: "_Errand") -> None:
        task = asyncio.create_task(self._see_through(errand), name=f"mail {errand.kind}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, errand))

    def _ended(self, errand: "_Errand", task: asyncio.Task[_End]) -> None:
        """Count and log how it ended; one that was cancelled before we close begins again, with the same mail."""
        self._tasks.discard(task)
        if task.cancelled() and not self._closed:
            log.warning("mail interrupted, trying again", **errand.described())
            self._begin(errand)
            return
        outcome, reason = (Outcome.DROPPED, None) if task.cancelled() else task.result()
        self._metrics.waiting.dec()
        self._metrics.mails.labels(errand.kind, outcome).inc()
        write = {Outcome.SENT: log.info, Outcome.NOT_DUE: log.info, Outcome.FAILED: log.error}
        write.get(outcome, log.warning)(f"mail {outcome}", **errand.described(), reason=reason)

    async def _see_through(self, errand: "_Errand") -> _End:
        try:
            return await self._try_until_done(errand)
        except MailRefused as error:
            return Outcome.REFUSED, str(error)
        except Exception as error:  # noqa: BLE001 - nobody is above us to hear of it
            return Outcome.FAILED, _where(error)

    async def _try_until_done(self, errand: "_Errand") -> _End:
        reason = None
        while True:
            async with self._turns:
                if errand.age >= self._persistence.give_up_after or errand.has_expired(self._clock()):
                    return Outcome.GIVEN_UP, reason
                try:
                    with stray_cancellations():
                        mail = await errand.mail()
                        if mail is not None:
                            await self._server.deliver(mail.message)
                except _PASSING_TROUBLE as error:
                    reason = str(error) if isinstance(error, MailServerTrouble) else type(error).__name__
                    errand.failures += 1
                else:
                    return Outcome.SENT if mail else Outcome.NOT_DUE, None
            # The first failure is news, the others are the same news again.
            (log.warning if errand.failures == 1 else log.debug)("mail delayed", **errand.described(), reason=reason)
            await asyncio.sleep(self._persistence.pause(errand.failures))


class _Errand:
    """A job on its way to being a mail that has been sent."""

    def __init__(self, kind: MailKind, job: MailJob) -> None:
        self._kind = kind
        self._job = job
        self._mail: Mail | None = None
        self._began = time.monotonic()
        self.failures = 0

    @property
    def kind(self) -> MailKind:
        return self._mail.kind if self._mail else self._kind

    async def mail(self) -> Mail | None:
        """The job's mail. A second try sends the same one, by whose Message-ID a double can be told."""
        if self._mail is None:
            self._mail = await self._job()
        return self._mail

    @property
    def age(self) -> float:
        """In seconds."""
        return time.monotonic() - self._began

    def has_expired(self, moment: datetime) -> bool:
        return self._mail is not None and self._mail.expires is not None and moment >= self._mail.expires

    def described(self) -> dict[str, object]:
        """For the log: neither whom it is for nor what it says.

        The recipient's hash is `printf %s ADDRESS | sha256sum | cut -c-12`, to find a mail somebody asks about.
        """
        described: dict[str, object] = {"kind": self.kind, "failures": self.failures}
        if self._mail is not None:
            digest = hashlib.sha256(self._mail.recipient.lower().encode()).hexdigest()
            described |= {"message_id": self._mail.message_id, "recipient_hash": digest[:12]}
        return described


def _where(error: BaseException) -> str:
    """The error's class and the lines it came through: its text may hold what was in a statement or in a mail."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)
