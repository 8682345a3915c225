"""Wire shapes of passwords."""

from typing import Annotated

from pydantic import EmailStr, Field, StringConstraints

from auth_service.accounts.schemas import Password
from auth_service.email_addresses.schemas import MailedToken
from auth_service.passwords.policy import MAX_LENGTH
from service_kit.schemas import RequestBody


class PasswordChange(RequestBody):
    current_password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)] = Field(
        examples=["correct horse battery staple"]
    )
    new_password: Password


class PasswordForgotten(RequestBody):
    email: Annotated[EmailStr, StringConstraints(max_length=254)] = Field(examples=["ada@example.com"])


class PasswordReset(RequestBody):
    token: MailedToken
    new_password: Password
