"""Wire shapes of accounts."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, EmailStr, Field, StringConstraints

from auth_service.accounts.models import Role
from auth_service.passwords import MAX_LENGTH, MIN_LENGTH
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
    name: DisplayName


class UserProfile(ResponseBody):
    id: str = Field(examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"])
    username: str
    name: str
    email: str
    role: Role
    is_active: bool
    created_at: UtcDatetime
    updated_at: UtcDatetime
