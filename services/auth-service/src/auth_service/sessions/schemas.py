"""Schemas of sessions and tokens."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime, UuidStr

REFRESH_TOKEN_EXAMPLE = "BcVN6E0fnaMbyx1dQw1jQH3nG5CrG2m0d8cX4cXn0rU"  # noqa: S105 - of no account
RefreshTokenText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    Field(examples=[REFRESH_TOKEN_EXAMPLE]),
]


class Refresh(RequestBody):
    refresh_token: RefreshTokenText


class Logout(RequestBody):
    refresh_token: RefreshTokenText | None = Field(default=None, description="Its session ends.")


class Tokens(ResponseBody):
    """RFC 6749 §5.1; `expires_in` is seconds until the access token expires."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIwMTlhYzJlNCJ9.c2lnbmF0dXJl"])
    refresh_token: RefreshTokenText
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of the scheme
    expires_in: int = Field(examples=[900])
    scope: str = Field(
        description="The scopes of the access token, which follow from the role.",
        examples=["tweets:write profile:write"],
    )


# RFC 6749 §5.1: headers of responses with tokens.
NO_STORE = {"Cache-Control": "no-store"}

_REFRESH_TOKEN = {"refresh_token": "$response.body#/refresh_token"}
# OpenAPI description of a response with tokens.
TOKENS_RESPONSE: dict[str, Any] = {
    "headers": {"Cache-Control": {"required": True, "schema": {"const": "no-store"}}},
    "links": {
        "refresh": {"operationId": "refresh", "requestBody": _REFRESH_TOKEN},
        "log_out": {"operationId": "log_out", "requestBody": _REFRESH_TOKEN},
    },
}


class SessionSummary(ResponseBody):
    """`client` is the User-Agent of the login, `address` the IP address of the last use."""

    id: UuidStr
    client: str = Field(examples=["Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"])
    address: str = Field(examples=["203.0.113.7"])
    created_at: UtcDatetime
    last_used_at: UtcDatetime
    expires_at: UtcDatetime
    is_current: bool = Field(description="Whether the access token of this request belongs to the session.")
