"""Schemas of a registration."""

from typing import Literal

from pydantic import Field

from auth_service.passwords.policy import MAX_LENGTH
from auth_service.passwords.schemas import CurrentPassword, Password
from auth_service.sessions.schemas import Tokens
from auth_service.users.schemas import DisplayName, Email, Username, UserProfile
from service_kit.roles import Role
from service_kit.schemas import RequestBody, ResponseBody


class Registration(RequestBody):
    username: Username
    email: Email
    name: DisplayName
    password: Password
    password_confirm: str = Field(max_length=MAX_LENGTH, examples=["correct horse battery staple"])
    role: Role = Field(default=Role.CUSTOMER, strict=False)
    current_password: CurrentPassword = Field(
        default=None, description="Of the user who creates the account. Needed for a `role` other than customer."
    )


class Registered(Tokens):
    user: UserProfile


class RegistrationAccepted(ResponseBody):
    """With `AUTH_REQUIRE_EMAIL_VERIFICATION`: the same for a new and for a known address."""

    status: Literal["confirm-your-email"] = "confirm-your-email"


# OpenAPI description of the 202 response.
ACCEPTED_RESPONSE = {
    "model": RegistrationAccepted,
    "description": "With `AUTH_REQUIRE_EMAIL_VERIFICATION`: a mail was sent to the address.",
}
