"""The cookie that holds a browser's refresh token (RFC 6265bis)."""

from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request

from auth_service.settings import Settings

NAME = "tandem_refresh"


@dataclass(frozen=True)
class RefreshCookie:
    """`token` is the one that the browser sent, if any; `path` is as the browser sees it.

    The path can't be part of the `__Host-` prefix's promise, so that over https it is `__Secure-`: a page that somebody
    on the way has forged without https can't set it.
    """

    token: str | None
    path: str
    is_secure: bool

    @classmethod
    def of(cls, request: Request, path: str) -> "RefreshCookie":
        settings: Settings = request.app.state.settings
        is_secure = settings.auth_public_url.startswith("https:")
        token = request.cookies.get(_name(is_secure=is_secure))
        return cls(token or None, f"{request.scope['root_path']}{path}", is_secure)

    def with_token(self, token: str, kept_for: timedelta | None) -> str:
        """`Set-Cookie`; without a time the browser forgets it when it is closed."""
        return self._set(token) if kept_for is None else self._set(token, int(kept_for.total_seconds()))

    def without_token(self) -> str:
        """`Set-Cookie` that makes the browser forget it."""
        return self._set("", 0)

    def _set(self, value: str, max_age: int | None = None) -> str:
        parts = [f"{_name(is_secure=self.is_secure)}={value}", f"Path={self.path}", "HttpOnly", "SameSite=Strict"]
        if self.is_secure:
            parts.append("Secure")
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        return "; ".join(parts)


def _name(*, is_secure: bool) -> str:
    return f"__Secure-{NAME}" if is_secure else NAME
