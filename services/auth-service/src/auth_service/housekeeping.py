"""What has to be done now and then: keys by their schedule, and rows that say nothing any more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, delete
from sqlalchemy.exc import SQLAlchemyError

from auth_service.audit.models import AuditEvent
from auth_service.database import Clock, Database, Table, rows_affected
from auth_service.keys.service import KeyRing
from auth_service.limits.models import LoginAttempts
from auth_service.one_time_tokens import OneTimeToken
from auth_service.sessions.models import Session
from service_kit.problems import ServiceUnavailable

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 60.0
# Of one deletion, so that it holds no locks for long.
_ROWS_AT_ONCE = 1000
# Ended sessions are kept for a while: a spent refresh token is to be recognised, and people ask what happened.
_SESSIONS_KEPT = timedelta(days=7)

_TROUBLE = (SQLAlchemyError, OSError, TimeoutError, ServiceUnavailable)


@dataclass(frozen=True)
class Housekeeper:
    """Every replica does this; each step is safe to do at the same time."""

    database: Database
    keys: KeyRing
    clock: Clock
    key_rotation: timedelta
    audit_kept: timedelta

    async def run(self) -> None:
        """Go on until cancelled. A database that is away is left for the next round."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.tidy()
            except _TROUBLE as error:
                log.warning("housekeeping put off", error=type(error).__name__)

    async def tidy(self) -> None:
        await self.keys.keep_schedule(self.key_rotation)
        for table, outdated in self._outdated(self.clock()):
            while await self._delete_some(table, outdated):
                pass

    def _outdated(self, now: datetime) -> Sequence[tuple[type[Table], ColumnElement[bool]]]:
        return (
            (Session, Session.expires_at < now - _SESSIONS_KEPT),
            (OneTimeToken, OneTimeToken.expires_at < now),
            (LoginAttempts, LoginAttempts.forgotten_at < now),
            (AuditEvent, AuditEvent.created_at < now - self.audit_kept),
        )

    async def _delete_some(self, table: type[Table], outdated: ColumnElement[bool]) -> bool:
        """Was there as much as one deletion takes, so that there may be more?"""
        statement = delete(table).where(outdated).with_dialect_options(mysql_limit=_ROWS_AT_ONCE)
        async with self.database.transaction() as session:
            return await rows_affected(session, statement) >= _ROWS_AT_ONCE
