"""Storage of audit events."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from auth_service.audit.models import AuditEvent, Event


class AuditRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_newest(
        self,
        *,
        event: Event | None,
        user_id: str | None,
        actor_id: str | None,
        since: datetime | None,
        until: datetime | None,
        before_id: str | None,
        limit: int,
    ) -> Sequence[AuditEvent]:
        """Newest first. Ids grow with time, so that the next page starts before the last id of this one."""
        query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
        if event is not None:
            query = query.where(AuditEvent.event == event)
        if user_id is not None:
            query = query.where(AuditEvent.user_id == user_id)
        if actor_id is not None:
            query = query.where(AuditEvent.actor_id == actor_id)
        if since is not None:
            query = query.where(AuditEvent.created_at >= since)
        if until is not None:
            query = query.where(AuditEvent.created_at < until)
        if before_id is not None:
            query = query.where(AuditEvent.id < before_id)
        return (await self._session.scalars(query)).all()

    async def list_concerning(self, user_id: str, after_id: str, limit: int) -> Sequence[AuditEvent]:
        """Events that affected this user or that the user caused, oldest first."""

        def page(column: InstrumentedAttribute[str | None]) -> Select[str]:
            found = select(AuditEvent.id).where(column == user_id, AuditEvent.id > after_id)
            return found.order_by(AuditEvent.id).limit(limit)

        # Each half reads one index in its order. With OR, MySQL would sort all events of the user for every page.
        halves = (page(AuditEvent.user_id).subquery(), page(AuditEvent.actor_id).subquery())
        ids = union(*(select(half.c.id) for half in halves)).subquery()
        query = select(AuditEvent).join(ids, ids.c.id == AuditEvent.id).order_by(AuditEvent.id).limit(limit)
        return (await self._session.scalars(query)).all()
