"""Schemas of accounts."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, EmailStr, Field, StringConstraints
from pydantic_core import PydanticCustomError

from auth_service.users.addresses import MAX_ADDRESS_LENGTH, fold_address
from service_kit.roles import Role
from service_kit.schemas import ResponseBody, UtcDatetime, UuidStr

MAX_NAME_LENGTH = 50


def _printable(text: str) -> str:
    """A name may use any script, but no control characters, which could hide or reorder text."""
    text = unicodedata.normalize("NFC", text).strip()
    if not text or any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text):
        raise PydanticCustomError("invisible_text", "The text must be visible.")
    if len(text) > MAX_NAME_LENGTH:  # NFC splits some characters into two
        raise PydanticCustomError("string_too_long", "The text is too long in Unicode's normal form NFC.")
    return text


def _folded(value: object) -> object:
    return fold_address(value) if isinstance(value, str) else value


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
# In the form of `canonical_address`. A longer text is refused as it is: `_folded` runs first, and the form of one that
# has become longer is refused, too.
Email = Annotated[
    EmailStr,
    StringConstraints(max_length=MAX_ADDRESS_LENGTH),
    BeforeValidator(_folded),
    Field(examples=["ada@example.com"]),
]


class UserProfile(ResponseBody):
    id: UuidStr
    username: str = Field(examples=["ada"])
    name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    email_verified: bool
    pending_email: str | None = Field(description="A new address that is not confirmed yet.", examples=[None])
    role: Role
    is_active: bool
    created_at: UtcDatetime
    updated_at: UtcDatetime
