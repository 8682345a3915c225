"""Schemas of a user's own account."""

from pydantic import Field

from auth_service.audit.schemas import AuditEntry
from auth_service.one_time_tokens.models import Purpose
from auth_service.passwords.schemas import CurrentPassword
from auth_service.users.schemas import DisplayName, Email, Username, UserProfile
from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime, UuidStr


class ProfileChange(RequestBody):
    """Absent fields do not change."""

    username: Username | None = None
    name: DisplayName | None = None
    email: Email | None = Field(
        default=None, description="Replaces the present address when the link in the mail to it is confirmed."
    )
    current_password: CurrentPassword = Field(default=None, description="Needed for an `email` that changes anything.")


class ExportedSession(ResponseBody):
    id: UuidStr
    client: str = Field(examples=["curl/8.14.1"])
    address: str = Field(examples=["203.0.113.7"])
    created_at: UtcDatetime
    last_used_at: UtcDatetime
    expires_at: UtcDatetime
    ended_at: UtcDatetime | None


class ExportedMailToken(ResponseBody):
    """A valid mailed token: its purpose and the address it was sent to."""

    # Not an enumeration: during an upgrade, replicas of a later release may store other purposes.
    purpose: str = Field(examples=list(Purpose))
    email: str = Field(examples=["ada@example.com"])
    created_at: UtcDatetime
    expires_at: UtcDatetime


class ExportedUsername(ResponseBody):
    """A former username that is held for the user."""

    username: str = Field(examples=["ada"])
    held_until: UtcDatetime


class ExportedProfile(ResponseBody):
    """The short part of an export."""

    exported_at: UtcDatetime
    profile: UserProfile
    tokens_valid_after: UtcDatetime | None
    password_changed_at: UtcDatetime | None
    email_verified_at: UtcDatetime | None
    held_usernames: list[ExportedUsername]
    mail_tokens: list[ExportedMailToken]


class Export(ExportedProfile):
    """All data of a user in auth-service, except the hashes of the password and of tokens."""

    sessions: list[ExportedSession]
    audit_events: list[AuditEntry]
