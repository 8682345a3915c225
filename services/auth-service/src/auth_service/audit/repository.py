"""Storage of audit events."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

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

    async def list_concerning(self, user_id: str) -> Sequence[AuditEvent]:
        """All events that affected this user or that the user caused, oldest first."""
        concerning = or_(AuditEvent.user_id == user_id, AuditEvent.actor_id == user_id)
        return (await self._session.scalars(select(AuditEvent).where(concerning).order_by(AuditEvent.id))).all()
