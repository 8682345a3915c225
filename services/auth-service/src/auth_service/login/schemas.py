"""Schemas of a login."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, field_validator

from auth_service.passwords.policy import MAX_LENGTH
from auth_service.sessions.schemas import REFRESH_TOKEN_EXAMPLE
from service_kit.schemas import RequestBody, require_text


class Login(RequestBody):
    login: Annotated[str, StringConstraints(min_length=1, max_length=254)] = Field(
        description="Username or email.", examples=["ada"]
    )
    password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)] = Field(
        examples=["correct horse battery staple"]
    )
    remember_me: bool = Field(
        default=False,
        description="Begin a long session: by default 30 days instead of 12 hours.",
    )


class TokenRequest(BaseModel):
    """RFC 6749 §4.3.2 and §6. The role determines the scopes, not the form. A client needs no id."""

    grant_type: Literal["password", "refresh_token"] = "password"
    username: str = Field(default="", description="Username or email, for `password`.", examples=["ada"])
    password: str = Field(
        default="", examples=["correct horse battery staple"], json_schema_extra={"format": "password"}
    )
    refresh_token: str = Field(default="", description="For `refresh_token`.", examples=[REFRESH_TOKEN_EXAMPLE])
    scope: str = ""
    client_id: str = ""
    client_secret: str = ""

    @field_validator("*", mode="before")
    @classmethod
    def _require_text(cls, value: Any) -> Any:
        return require_text(value)
