"""Wire shapes of the audit trail."""

from typing import Any

from pydantic import Field

from auth_service.audit.models import Event
from service_kit.wire import ResponseBody, UtcDatetime


class AuditEntry(ResponseBody):
    """`user_id` is whom it concerns, `actor_id` who did it; null where nobody is known to."""

    id: str = Field(examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"])
    event: Event
    user_id: str | None
    actor_id: str | None
    address: str = Field(examples=["203.0.113.7"])
    client: str = Field(description="The User-Agent.", examples=["curl/8.14.1"])
    request_id: str
    details: dict[str, Any] = Field(examples=[{"reason": "wrong-password"}])
    created_at: UtcDatetime
