"""The cookie that holds a browser's refresh token (RFC 6265bis)."""

from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request

from auth_service.settings import Settings

NAME = "tandem_refresh"


@dataclass(frozen=True)
class RefreshCookie:
    """`token` is the token that the browser sent, if any. `path` is the path as the browser sees it.

    Over https the name has the prefix `__Secure-`, so that a page that was forged without https can't set it. The
    prefix `__Host-` would not allow a path.
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

    def with_token(self, token: str, max_age: timedelta | None) -> str:
        """The value of `Set-Cookie`. Without `max_age` the browser deletes the cookie when it is closed."""
        return self._set(token) if max_age is None else self._set(token, int(max_age.total_seconds()))

    def without_token(self) -> str:
        """The value of `Set-Cookie` that deletes the cookie."""
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
