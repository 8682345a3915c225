"""Periodic work: rotates signing keys and deletes expired rows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.exc import SQLAlchemyError

from auth_service.audit.models import AuditEvent
from auth_service.database import Clock, Database, Table, rows_affected
from auth_service.keys.service import KeyRing
from auth_service.limits.models import LoginAttempts
from auth_service.one_time_tokens.models import RETENTION, OneTimeToken
from auth_service.outbox.models import OutboxMail
from auth_service.sessions.models import RefreshToken, Session
from auth_service.users.models import HeldUsername
from service_kit.problems import ServiceUnavailable

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 60.0
# Rows of one DELETE statement, which limits how long it holds locks.
_BATCH_SIZE = 1000
_SESSIONS_AT_A_TIME = 100
# Expired sessions are kept to detect reused refresh tokens, and for questions of users.
_SESSION_RETENTION = timedelta(days=7)
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
            while await self._delete_batch(table, expired):
                pass
        while await self._delete_sessions():
            pass

    def _expired(self, now: datetime) -> Sequence[tuple[type[Table], ColumnElement[bool]]]:
        return (
            (OneTimeToken, OneTimeToken.expires_at < now - RETENTION),
            (LoginAttempts, LoginAttempts.forgotten_at < now),
            (HeldUsername, HeldUsername.held_until < now),
            (AuditEvent, AuditEvent.created_at < now - self.audit_retention),
            (OutboxMail, OutboxMail.died_at < now - _DEAD_MAIL_RETENTION),
        )

    async def _delete_sessions(self) -> bool:
        """Delete expired sessions, after their refresh tokens: a long session has more than one statement may delete.

        Returns whether more may be left.
        """
        expired = Session.expires_at < self.clock() - _SESSION_RETENTION
        async with self.database.reading() as session:
            ids = (await session.scalars(select(Session.id).where(expired).limit(_SESSIONS_AT_A_TIME))).all()
        while await self._delete_batch(RefreshToken, RefreshToken.session_id.in_(ids)):
            pass
        await self._delete_batch(Session, Session.id.in_(ids))
        return len(ids) >= _SESSIONS_AT_A_TIME

    async def _delete_batch(self, table: type[Table], expired: ColumnElement[bool]) -> bool:
        """Returns whether the batch was full, so that more rows may be left."""
        statement = delete(table).where(expired).with_dialect_options(mysql_limit=_BATCH_SIZE)
        async with self.database.transaction() as session:
            return await rows_affected(session, statement) >= _BATCH_SIZE
