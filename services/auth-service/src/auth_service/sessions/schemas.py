"""Wire shapes of sessions."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auth_service.accounts.schemas import UserProfile
from auth_service.passwords.policy import MAX_LENGTH
from service_kit.wire import RequestBody, ResponseBody, UtcDatetime

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


class Refresh(RequestBody):
    refresh_token: RefreshTokenText


class Tokens(ResponseBody):
    """RFC 6749 §5.1; `expires_in` is seconds until the access token expires."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIs…"])
    refresh_token: RefreshTokenText
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of the scheme
    expires_in: int = Field(examples=[900])


class Registered(Tokens):
    user: UserProfile


class SessionSummary(ResponseBody):
    """`client` is the User-Agent that logged in, `address` where it was last seen."""

    id: str = Field(examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"])
    client: str = Field(examples=["Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"])
    address: str = Field(examples=["203.0.113.7"])
    created_at: UtcDatetime
    last_used_at: UtcDatetime
    expires_at: UtcDatetime
    is_current: bool = Field(description="Is it the one of the token that asks?")


class SessionList(ResponseBody):
    items: list[SessionSummary]
