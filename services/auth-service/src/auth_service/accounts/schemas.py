"""Wire shapes of accounts."""

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, EmailStr, Field, StringConstraints
from pydantic_core import PydanticCustomError

from auth_service.accounts.models import Role
from auth_service.audit.schemas import AuditEntry
from auth_service.one_time_tokens import Purpose
from auth_service.passwords.policy import MAX_LENGTH, MIN_LENGTH
from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime, UuidStr

MAX_NAME_LENGTH = 50


def _printable(text: str) -> str:
    """A name may be in any script, but has no control characters that could hide or reorder text."""
    text = unicodedata.normalize("NFC", text).strip()
    if not text or any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text):
        raise PydanticCustomError("invisible_text", "The text must be visible.")
    if len(text) > MAX_NAME_LENGTH:  # NFC makes two characters of some that are one
        raise PydanticCustomError("string_too_long", "The text is too long in Unicode's normal form NFC.")
    return text


Username = Annotated[
    str,
    StringConstraints(min_length=3, max_length=30, pattern=r"^[A-Za-z0-9_]+$"),
    Field(description="Letters, digits and `_`; unique without regard to case.", examples=["ada"]),
]
DisplayName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH),
    AfterValidator(_printable),
    Field(description="Visible text: no control or formatting characters, not only spaces.", examples=["Ada Lovelace"]),
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
    role: Role = Field(default=Role.CUSTOMER, strict=False)


class ProfileChange(RequestBody):
    """What is absent stays as it is."""

    username: Username | None = None
    name: DisplayName | None = None
    email: Email | None = Field(
        default=None, description="Replaces the present one once it is confirmed by the mail sent to it."
    )


class UserProfile(ResponseBody):
    id: UuidStr
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
    id: UuidStr
    client: str = Field(examples=["curl/8.14.1"])
    address: str = Field(examples=["203.0.113.7"])
    created_at: UtcDatetime
    last_used_at: UtcDatetime
    expires_at: UtcDatetime
    ended_at: UtcDatetime | None


class ExportedMailToken(ResponseBody):
    """A mailed token that can still be used: what for, and at which address."""

    purpose: Purpose
    email: str = Field(examples=["ada@example.com"])
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
