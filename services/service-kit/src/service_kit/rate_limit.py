"""How a rate limit is told to a client: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response


@dataclass(frozen=True)
class RateLimit:
    """The limit that is nearest for this client.

    `quota` attempts are free within `window_seconds`; `remaining` of them are left, and after `reset_seconds` (at
    least) there will be more.
    """

    policy: str
    quota: int
    window_seconds: int
    remaining: int
    reset_seconds: int

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={self.window_seconds}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_seconds}',
        }


def tell_rate_limit(request: Request, response: Response, limit: RateLimit) -> None:
    """Send the limit with whatever the answer will be: `response`, or a problem that is raised later."""
    request.state.rate_limit = limit
    response.headers.update(limit.headers())
