"""Wire shapes of accounts."""

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, EmailStr, Field, StringConstraints

from auth_service.accounts.models import Role
from auth_service.audit.schemas import AuditEntry
from auth_service.passwords.policy import MAX_LENGTH, MIN_LENGTH
from service_kit.wire import RequestBody, ResponseBody, UtcDatetime


def _printable(text: str) -> str:
    """A name may be in any script, but has no control characters that could hide or reorder text."""
    text = unicodedata.normalize("NFC", text).strip()
    if not text or any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text):
        raise ValueError("must be visible text")
    return text


Username = Annotated[
    str,
    StringConstraints(min_length=3, max_length=30, pattern=r"^[A-Za-z0-9_]+$"),
    Field(description="Letters, digits and `_`; unique without regard to case.", examples=["ada"]),
]
DisplayName = Annotated[
    str, StringConstraints(min_length=1, max_length=50), AfterValidator(_printable), Field(examples=["Ada Lovelace"])
]
Email = Annotated[EmailStr, StringConstraints(max_length=254), Field(examples=["ada@example.com"])]
Password = Annotated[
    str,
    StringConstraints(min_length=MIN_LENGTH, max_length=MAX_LENGTH),
    Field(examples=["correct horse battery staple"], json_schema_extra={"format": "password"}),
]


class Registration(RequestBody):
    username: Username
    email: Email
    name: DisplayName
    password: Password
    password_confirm: str = Field(max_length=MAX_LENGTH, examples=["correct horse battery staple"])
    role: Role = Role.CUSTOMER


class ProfileChange(RequestBody):
    """What is absent stays as it is."""

    username: Username | None = None
    name: DisplayName | None = None
    email: Email | None = Field(
        default=None, description="Replaces the present one once it is confirmed by the mail sent to it."
    )


class UserProfile(ResponseBody):
    id: str = Field(examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"])
    username: str = Field(examples=["ada"])
    name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    email_verified: bool
    pending_email: str | None = Field(description="An address that is still to be confirmed.", examples=[None])
    role: Role
    is_active: bool
    created_at: UtcDatetime
    updated_at: UtcDatetime


class RegistrationAccepted(ResponseBody):
    """With `AUTH_REQUIRE_EMAIL_VERIFICATION`: the same whether the address is new or has an account."""

    status: Literal["confirm-your-email"] = "confirm-your-email"


class ExportedSession(ResponseBody):
    id: str
    client: str
    address: str
    created_at: UtcDatetime
    last_used_at: UtcDatetime
    expires_at: UtcDatetime
    ended_at: UtcDatetime | None


class ExportedMailToken(ResponseBody):
    """A mailed token that can still be used: what for, and at which address."""

    purpose: str
    email: str
    created_at: UtcDatetime
    expires_at: UtcDatetime


class Export(ResponseBody):
    """Everything auth-service holds about a person, but for the password's hash and the tokens' hashes."""

    exported_at: UtcDatetime
    profile: UserProfile
    tokens_valid_after: UtcDatetime | None
    password_changed_at: UtcDatetime | None
    email_verified_at: UtcDatetime | None
    sessions: list[ExportedSession]
    mail_tokens: list[ExportedMailToken]
    audit_events: list[AuditEntry]
