"""Periodic work: rotates signing keys and deletes expired rows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement
from sqlalchemy.exc import SQLAlchemyError

from auth_service.audit.models import AuditEvent
from auth_service.batched_deletion import delete_in_batches
from auth_service.database import Clock, Database, Table
from auth_service.keys.service import KeyRing
from auth_service.limits.models import LoginAttempts
from auth_service.one_time_tokens.models import RETENTION, OneTimeToken
from auth_service.outbox.models import OutboxMail
from auth_service.sessions.deletion import delete_past_sessions
from auth_service.users.models import HeldUsername
from service_kit.problems import ServiceUnavailable

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 60.0
# Mails that could not be sent are kept without recipient and token, for questions of operators.
_DEAD_MAIL_RETENTION = timedelta(days=7)

_TRANSIENT_ERRORS = (SQLAlchemyError, OSError, TimeoutError, ServiceUnavailable)


@dataclass(frozen=True)
class Housekeeper:
    """Runs in every replica. One replica at a time rotates keys; several may delete rows at the same time."""

    database: Database
    keys: KeyRing
    clock: Clock
    key_rotation: timedelta
    audit_retention: timedelta

    async def run(self) -> None:
        """Run until cancelled. If the database is unavailable, the next round does the work."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.clean_up()
            except _TRANSIENT_ERRORS as error:
                log.warning("housekeeping postponed", error=type(error).__name__)

    async def clean_up(self) -> None:
        await self.keys.keep_schedule(self.key_rotation)
        for table, expired in self._expired(self.clock()):
            await delete_in_batches(self.database, table, expired)
        await delete_past_sessions(self.database, self.clock())

    def _expired(self, now: datetime) -> Sequence[tuple[type[Table], ColumnElement[bool]]]:
        return (
            (OneTimeToken, OneTimeToken.expires_at < now - RETENTION),
            (LoginAttempts, LoginAttempts.forgotten_at < now),
            (HeldUsername, HeldUsername.held_until < now),
            (AuditEvent, AuditEvent.created_at < now - self.audit_retention),
            (OutboxMail, OutboxMail.died_at < now - _DEAD_MAIL_RETENTION),
        )
