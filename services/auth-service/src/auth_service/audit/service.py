"""Writes the audit trail."""

from dataclasses import dataclass

import structlog
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import AuditEvent, Event
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, new_id, table_of

log = structlog.get_logger(__name__)

_INSERT = insert(table_of(AuditEvent))

Detail = str | int | bool | list[str] | None


@dataclass(frozen=True)
class AuditTrail:
    """Records events in the caller's transaction, so that an event is stored exactly if its action is.

    Details must never contain a password, a token or the text of a username field, in which users type passwords by
    mistake.
    """

    clock: Clock

    async def record(
        self,
        session: AsyncSession,
        event: Event,
        client: ClientInfo,
        *,
        user_id: str | None = None,
        actor_id: str | None = None,
        anonymous: bool = False,
        **details: Detail,
    ) -> None:
        """The affected user is the actor, unless `actor_id` names another or the actor is unknown (`anonymous`)."""
        actor_id = None if anonymous else actor_id or user_id
        await session.execute(
            _INSERT,
            {
                "id": new_id(),
                "event": event,
                "user_id": user_id,
                "actor_id": actor_id,
                "address": client.address,
                "client": client.user_agent,
                "request_id": client.request_id,
                "details": details,
                "created_at": self.clock(),
            },
        )
        log.info("audit", audit_event=event, user_id=user_id, actor_id=actor_id, **details)
