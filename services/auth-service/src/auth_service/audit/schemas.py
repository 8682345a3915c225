"""Schemas of the audit trail."""

from typing import Any

from pydantic import Field

from auth_service.audit.models import Event
from service_kit.schemas import ResponseBody, UtcDatetime, UuidStr


class AuditEntry(ResponseBody):
    """`user_id` is the affected user, `actor_id` the user who acted; null if unknown."""

    id: UuidStr
    event: Event
    user_id: UuidStr | None
    actor_id: UuidStr | None
    address: str = Field(examples=["203.0.113.7"])
    client: str = Field(description="The User-Agent.", examples=["curl/8.14.1"])
    request_id: str = Field(examples=["01a20aed-ba0e-79f0-8b83-c5bb8662bc58"])
    details: dict[str, Any] = Field(examples=[{"reason": "wrong-password"}])
    created_at: UtcDatetime
