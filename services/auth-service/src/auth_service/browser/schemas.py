"""Schemas of browsers' sessions: those of sessions, without the refresh token."""

from typing import Any, Literal

from pydantic import Field

from auth_service.users.schemas import UserProfile
from service_kit.schemas import ResponseBody


class BrowserTokens(ResponseBody):
    """RFC 6749 §5.1; `expires_in` is seconds until the access token expires. The refresh token is in the cookie."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIwMTlhYzJlNCJ9.c2lnbmF0dXJl"])
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of the scheme
    expires_in: int = Field(examples=[900])
    scope: str = Field(examples=["tweets:write profile:write"])


class BrowserRegistered(BrowserTokens):
    user: UserProfile


COOKIE_HEADER: dict[str, Any] = {
    "description": "The refresh token, sent to `/v1/browser` only. Over https its name begins with `__Secure-`.",
    "required": True,
    "schema": {"type": "string"},
    "example": "tandem_refresh=BcVN6E0f…; Path=/api/auth/v1/browser; HttpOnly; SameSite=Strict",
}
TOKENS_RESPONSE: dict[str, Any] = {
    "headers": {"Cache-Control": {"required": True, "schema": {"const": "no-store"}}, "Set-Cookie": COOKIE_HEADER},
}
