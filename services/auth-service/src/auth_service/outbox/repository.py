"""Storage of the outbox."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import table_of
from auth_service.outbox.models import OutboxMail

MAX_REASON_LENGTH = 200

_NOW = func.utc_timestamp(6)
_INSERT = insert(table_of(OutboxMail)).values(due_at=_NOW, attempts=0)


class OutboxRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, **values: Any) -> None:
        """Store a mail that is due now."""
        await self._session.execute(_INSERT, values)

    async def claim(self, limit: int, seconds: float) -> Sequence[OutboxMail]:
        """The next due mails, for this worker alone until `seconds` have passed.

        Rows that another worker claims at the same time are skipped, not waited for.
        """
        due = select(OutboxMail).where(OutboxMail.due_at <= _NOW).order_by(OutboxMail.due_at).limit(limit)
        claimed = (await self._session.scalars(due.with_for_update(skip_locked=True))).all()
        if claimed:
            ids = [mail.id for mail in claimed]
            claim = {"due_at": _after(seconds), "attempts": OutboxMail.attempts + 1}
            await self._update(OutboxMail.id.in_(ids), **claim)
        return claimed

    async def seal(self, mail_id: str, sealed_token: bytes) -> None:
        """Store the token of a mail that is being written, so that a retry sends the same."""
        await self._update(OutboxMail.id == mail_id, sealed_token=sealed_token)

    async def postpone(self, mail_id: str, seconds: float, reason: str) -> None:
        await self._update(OutboxMail.id == mail_id, due_at=_after(seconds), reason=reason[:MAX_REASON_LENGTH])

    async def bury(self, mail_id: str, reason: str, now: datetime) -> None:
        """Keep a mail that can't be sent, without its personal data and its token."""
        left = {"recipient": None, "sealed_token": None, "client": None, "due_at": None}
        await self._update(OutboxMail.id == mail_id, **left, reason=reason[:MAX_REASON_LENGTH], died_at=now)

    async def delete(self, mail_id: str) -> None:
        await self._session.execute(delete(table_of(OutboxMail)).where(OutboxMail.id == mail_id))

    async def count_waiting(self) -> int:
        query = select(func.count()).select_from(OutboxMail).where(OutboxMail.due_at.is_not(None))
        return await self._session.scalar(query) or 0

    async def _update(self, which: ColumnElement[bool], **values: Any) -> None:
        # Not by the unit of work: the claimed objects stay as they were read.
        await self._session.execute(update(table_of(OutboxMail)).where(which).values(**values))


def _after(seconds: float) -> ColumnElement[Any]:
    return func.timestampadd(literal_column("MICROSECOND"), round(seconds * 1_000_000), _NOW)
