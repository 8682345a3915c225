"""Wire shapes of sessions."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from auth_service.accounts.schemas import UserProfile
from auth_service.passwords.policy import MAX_LENGTH
from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime, UuidStr

RefreshTokenText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    Field(examples=["BcVN6E0fnaMbyx1dQw1jQH3nG5CrG2m0d8cX4cXn0rU"]),
]


class Login(RequestBody):
    login: Annotated[str, StringConstraints(min_length=1, max_length=254)] = Field(
        description="Username or email.", examples=["ada"]
    )
    password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)] = Field(
        examples=["correct horse battery staple"]
    )
    remember_me: bool = Field(default=False, description="A session of 30 days rather than 12 hours.")


class PasswordGrant(BaseModel):
    """RFC 6749 §4.3.2. Scopes follow from the role, not from the form; a client needs no id."""

    grant_type: Literal["password"] = "password"
    username: str = Field(min_length=1, description="Username or email.", examples=["ada"])
    password: str = Field(
        min_length=1, examples=["correct horse battery staple"], json_schema_extra={"format": "password"}
    )
    scope: str = ""
    client_id: str = ""
    client_secret: str = ""


class Refresh(RequestBody):
    refresh_token: RefreshTokenText


class Tokens(ResponseBody):
    """RFC 6749 §5.1; `expires_in` is seconds until the access token expires."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIwMTlhYzJlNCJ9.c2lnbmF0dXJl"])
    refresh_token: RefreshTokenText
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of the scheme
    expires_in: int = Field(examples=[900])


# What OpenAPI says of an answer with tokens: how they are used.
_REFRESH_TOKEN = {"refresh_token": "$response.body#/refresh_token"}
TOKENS_ANSWER: dict[str, Any] = {
    "headers": {"Cache-Control": {"required": True, "schema": {"const": "no-store"}}},
    "links": {
        "refresh": {"operationId": "refresh", "requestBody": _REFRESH_TOKEN},
        "log_out": {"operationId": "log_out", "requestBody": _REFRESH_TOKEN},
    },
}


class Registered(Tokens):
    user: UserProfile


class SessionSummary(ResponseBody):
    """`client` is the User-Agent that logged in, `address` where it was last seen."""

    id: UuidStr
    client: str = Field(examples=["Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"])
    address: str = Field(examples=["203.0.113.7"])
    created_at: UtcDatetime
    last_used_at: UtcDatetime
    expires_at: UtcDatetime
    is_current: bool = Field(description="Is it the one of the token that asks?")


class SessionList(ResponseBody):
    items: list[SessionSummary]
