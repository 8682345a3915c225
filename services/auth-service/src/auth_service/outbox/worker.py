"""Sends the mails of the outbox.

Each replica has a worker. It claims due rows, so that no two workers send a mail, and deletes a row when its mail is
sent. If it is killed while it sends, another worker sends the mail again, with the same Message-ID.
"""

import asyncio
import time
import traceback
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from auth_service.database import Clock, Database
from auth_service.mail.messages import Mail, MailKind
from auth_service.mail.smtp import MailRefused, MailServerTrouble, SmtpServer
from auth_service.metrics import MailMetrics
from auth_service.outbox.models import OutboxMail
from auth_service.outbox.repository import OutboxRepository
from auth_service.outbox.writing import MAILBOX_LIMIT, MailPostponed, MailWriter
from service_kit.background import TaskEnded, stray_cancellations
from service_kit.problems import ServiceUnavailable
from service_kit.retry import Backoff, Retrier

log = structlog.get_logger(__name__)

BACKOFF = Backoff(initial=0.5, maximum=60.0)
# How long a worker may take for a mail before another one tries. It must exceed the time for writing and sending it.
CLAIM_SECONDS = 60.0
_DELIVERY_SECONDS = 40.0
# Rows of other replicas become due without a signal, for example after a kill.
_POLL_SECONDS = 1.0
# The outcome is stored as long as no other worker has tried the mail.
_STORE_BACKOFF, _STORE_SECONDS = Backoff(initial=0.1, maximum=1.0), 10.0

_DATABASE_ERRORS = (ServiceUnavailable, OperationalError, InterfaceError, PoolTimeoutError)
_TRANSIENT_ERRORS = (MailServerTrouble, TaskEnded, TimeoutError, *_DATABASE_ERRORS)


class MailOutcome(StrEnum):
    SENT = "sent"
    NOT_DUE = "not_due"  # no account has the address, the link was used or withdrawn, or the mailbox has got too many
    REFUSED = "refused"  # by the mail server, permanently
    GIVEN_UP = "given_up"  # retried until its link expired or its notice was old
    FAILED = "failed"  # unexpected error


class OutboxWorker:
    """Run `run` within `async with`: at its end deliveries that have begun may finish for `drain_seconds`.

    At most `concurrency` mails are written and sent at a time. A mail that waits for a retry does not count, so that a
    slow server delays its own recipients only.
    """

    def __init__(
        self,
        database: Database,
        writer: MailWriter,
        server: SmtpServer,
        metrics: MailMetrics,
        clock: Clock,
        *,
        concurrency: int = 4,
        drain_seconds: float = 4.0,
        backoff: Backoff = BACKOFF,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        self._database = database
        self._writer = writer
        self._server = server
        self._metrics = metrics
        self._clock = clock
        self._concurrency = concurrency
        self._drain_seconds = drain_seconds
        self._backoff = backoff
        self._claim_seconds = claim_seconds
        self._wake = writer.outbox.filled
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted_at = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def run(self) -> None:
        """Send mails until cancelled. If the database is unavailable, the next round does the work."""
        while True:
            self._wake.clear()
            try:
                has_more = await self._send_due()
            except _DATABASE_ERRORS as error:
                log.warning("outbox postponed", error=type(error).__name__)
                has_more = False
            if has_more and len(self._tasks) < self._concurrency:
                continue
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _send_due(self) -> bool:
        """Begin to send as many mails as there is room for. Returns whether more may be due."""
        room = self._concurrency - len(self._tasks)
        if room <= 0:
            return True
        async with self._database.transaction() as session:
            outbox = OutboxRepository(session)
            claimed = await outbox.claim(room, self._claim_seconds)
            if time.monotonic() - self._counted_at >= _POLL_SECONDS:
                self._metrics.waiting.set(await outbox.count_waiting())
                self._counted_at = time.monotonic()
        for row in claimed:
            task = asyncio.create_task(self._deliver(row), name=f"mail {row.kind}")
            self._tasks.add(task)
            task.add_done_callback(partial(self._on_done, row))
        return len(claimed) == room

    def _on_done(self, row: OutboxMail, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            # The claim ends, and the mail is tried again.
            log.warning("mail interrupted, retrying", **_log_fields(row, None), reason=_where(error))

    async def _deliver(self, row: OutboxMail) -> None:
        mail: Mail | None = None
        try:
            if self._clock() >= row.expires_at:
                outcome, reason = MailOutcome.GIVEN_UP, row.reason
            else:
                with stray_cancellations():
                    async with asyncio.timeout(_DELIVERY_SECONDS):
                        mail = await self._writer.write(row)
                        if mail is not None:
                            await self._server.deliver(mail.message)
                outcome, reason = MailOutcome.SENT if mail else MailOutcome.NOT_DUE, None
        except _TRANSIENT_ERRORS as error:
            await self._postpone(row, mail, error)
            return
        except MailPostponed:
            log.info("mail postponed", **_log_fields(row, None), reason=MAILBOX_LIMIT)
            return
        except MailRefused as error:
            outcome, reason = MailOutcome.REFUSED, str(error)
        except Exception as error:  # noqa: BLE001 - the top of a task: any error is logged
            outcome, reason = MailOutcome.FAILED, _where(error)
        await self._end(row, mail, outcome, reason)

    async def _postpone(self, row: OutboxMail, mail: Mail | None, error: Exception) -> None:
        reason = str(error) if isinstance(error, MailServerTrouble) else type(error).__name__
        failures = row.attempts + 1
        # One warning per mail is enough.
        write = log.warning if failures == 1 else log.debug
        write("mail delayed", **_log_fields(row, mail, failures), reason=reason)
        async with self._database.transaction() as session:
            await OutboxRepository(session).postpone(row.id, self._backoff.delay(failures), reason)

    async def _end(self, row: OutboxMail, mail: Mail | None, outcome: MailOutcome, reason: str | None) -> None:
        async def store() -> None:
            async with self._database.transaction() as session:
                outbox = OutboxRepository(session)
                if outcome in (MailOutcome.SENT, MailOutcome.NOT_DUE):
                    await outbox.delete(row.id)
                else:
                    await outbox.bury(row.id, f"{outcome}: {reason}", self._clock())

        self._metrics.mails.labels(mail.kind if mail else row.kind, outcome).inc()
        write = {MailOutcome.SENT: log.info, MailOutcome.NOT_DUE: log.info, MailOutcome.FAILED: log.error}
        write.get(outcome, log.warning)(f"mail {outcome}", **_log_fields(row, mail), reason=reason)
        await Retrier(on=_DATABASE_ERRORS, backoff=_STORE_BACKOFF, timeout=_STORE_SECONDS).run(store)


def _log_fields(row: OutboxMail, mail: Mail | None, failures: int | None = None) -> dict[str, object]:
    """Fields for the log, without the recipient and the text. A hash of an address is no secret: it can be guessed."""
    kind = mail.kind if mail else MailKind(row.kind)
    fields: dict[str, object] = {"kind": kind, "failures": row.attempts if failures is None else failures}
    if mail is not None:
        fields |= {"message_id": mail.message_id, "user_id": row.user_id}
    return fields


def _where(error: BaseException) -> str:
    """The error's class and its line numbers. Its text may contain personal data of a statement or a mail."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)
