"""The table of audit events."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Table, new_id


class Event(StrEnum):
    """OWASP Logging Vocabulary Cheat Sheet."""

    LOGIN_SUCCESS = "authn_login_success"
    LOGIN_FAIL = "authn_login_fail"
    LOGIN_LOCK = "authn_login_lock"
    PASSWORD_CHANGE = "authn_password_change"  # noqa: S105 - an event, not a password
    PASSWORD_CHANGE_FAIL = "authn_password_change_fail"  # noqa: S105
    TOKEN_CREATED = "authn_token_created"  # noqa: S105
    TOKEN_REVOKED = "authn_token_revoked"  # noqa: S105
    TOKEN_REUSE = "authn_token_reuse"  # noqa: S105
    AUTHZ_FAIL = "authz_fail"
    AUTHZ_CHANGE = "authz_change"
    AUTHZ_ADMIN = "authz_admin"
    SESSION_CREATED = "session_created"
    USER_CREATED = "user_created"
    USER_UPDATED = "user_updated"
    USER_DELETED = "user_deleted"
    SENSITIVE_CREATE = "sensitive_create"
    SENSITIVE_READ = "sensitive_read"


class AuditEvent(Table):
    """`user_id` is the affected user, `actor_id` the user who acted, if known. The ids outlive the accounts."""

    __tablename__ = "audit_events"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    event: Mapped[str]
    user_id: Mapped[str | None]
    actor_id: Mapped[str | None]
    address: Mapped[str]
    client: Mapped[str]
    request_id: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
