"""Schemas of passwords."""

from typing import Annotated

from pydantic import Field, StringConstraints

from auth_service.one_time_tokens.schemas import MailedToken
from auth_service.passwords.policy import MAX_LENGTH, MIN_LENGTH
from auth_service.users.schemas import Email
from service_kit.schemas import RequestBody

Password = Annotated[
    str,
    StringConstraints(min_length=MIN_LENGTH, max_length=MAX_LENGTH),
    Field(examples=["correct horse battery staple"], json_schema_extra={"format": "password"}),
]


# Confirms a sensitive action. Optional, because its absence is a problem of its own: `reauthentication-required`.
CurrentPassword = Annotated[
    str | None,
    StringConstraints(max_length=MAX_LENGTH),
    Field(examples=["correct horse battery staple"], json_schema_extra={"format": "password"}),
]


class PasswordChange(RequestBody):
    current_password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)] = Field(
        examples=["correct horse battery staple"]
    )
    new_password: Password


class AccountDeletion(RequestBody):
    """`current_password` is the caller's."""

    current_password: CurrentPassword = None


class PasswordForgotten(RequestBody):
    email: Email


class PasswordReset(RequestBody):
    token: MailedToken
    new_password: Password
