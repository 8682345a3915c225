"""Writes the audit trail."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import func, insert
from sqlalchemy.dialects import mysql
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

    async def record_repeated(
        self,
        session: AsyncSession,
        event: Event,
        client: ClientInfo,
        *,
        actor_id: str,
        user_id: str | None = None,
        **detail: str,
    ) -> None:
        """Record an event that a user can cause at will, once a minute for this user, so that the trail stays small.

        `detail` is one. The event has its first value, a `count`, and the `counts` of each value. Address, client and
        request are those of the first time in the minute.
        """
        ((_, value),) = detail.items()
        now = self.clock()
        details = table_of(AuditEvent).c.details
        row = mysql.insert(table_of(AuditEvent)).values(
            id=_id_in_minute(now, event, actor_id, user_id or ""),
            event=event,
            user_id=user_id,
            actor_id=actor_id,
            address=client.address,
            client=client.user_agent,
            request_id=client.request_id,
            details={**detail, "count": 1, "counts": {value: 1}},
            created_at=now,
        )
        path = f'$.counts."{value}"'
        counted = func.json_set(
            details,
            "$.count",
            func.json_extract(details, "$.count") + 1,
            path,
            func.coalesce(func.json_extract(details, path), 0) + 1,
        )
        await session.execute(row.on_duplicate_key_update(details=counted))
        log.info("audit", audit_event=event, user_id=user_id, actor_id=actor_id, **detail)


def _id_in_minute(now: datetime, *parts: str) -> str:
    """A UUIDv7 of this minute (RFC 9562 §5.7) that the parts determine, so that all replicas count in one row."""
    milliseconds = int(now.replace(second=0, microsecond=0).timestamp() * 1000)
    digest = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:10])
    random_bits = digest & ~(0xF << 76) & ~(0b11 << 62)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 0b10 << 62 | random_bits))
