"""Writes the audit trail."""

from dataclasses import dataclass

import structlog
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import AuditEvent, Event
from auth_service.database import Clock, new_id, table_of
from auth_service.origin import Origin

log = structlog.get_logger(__name__)

_INSERT = insert(table_of(AuditEvent))

Detail = str | int | bool | list[str] | None


@dataclass(frozen=True)
class AuditTrail:
    """Records in the caller's transaction: what is undone never happened, and what happened is recorded.

    Details are chosen word by word by whoever records; a password, a token or what somebody typed into the field
    of a username (which may be a password) is never among them.
    """

    clock: Clock

    async def record(
        self,
        session: AsyncSession,
        event: Event,
        origin: Origin,
        *,
        user_id: str | None = None,
        actor_id: str | None = None,
        anonymous: bool = False,
        **details: Detail,
    ) -> None:
        """Whom it concerns did it, unless another actor is named or nobody knows who it was (`anonymous`)."""
        actor_id = None if anonymous else actor_id or user_id
        await session.execute(
            _INSERT,
            {
                "id": new_id(),
                "event": event,
                "user_id": user_id,
                "actor_id": actor_id,
                "address": origin.address,
                "client": origin.client,
                "request_id": origin.request_id,
                "details": details,
                "created_at": self.clock(),
            },
        )
        log.info("audit", audit_event=event, user_id=user_id, actor_id=actor_id, **details)
