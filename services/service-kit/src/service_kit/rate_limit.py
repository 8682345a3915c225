"""The headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response


@dataclass(frozen=True)
class RateLimit:
    """The state of the limit that this client will reach first.

    A window of `window_seconds` allows `quota` attempts; `remaining` are left, and `reset_seconds` pass at least until
    more are allowed.
    """

    policy: str
    quota: int
    window_seconds: int
    remaining: int
    reset_seconds: int

    @property
    def used(self) -> int:
        """The attempts that were made."""
        return self.quota - self.remaining

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={self.window_seconds}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_seconds}',
        }


# Adds the headers of a limit to the response.
ReportRateLimit = Callable[[RateLimit], None]


def set_rate_limit_headers(request: Request, response: Response, limit: RateLimit) -> None:
    """Add the headers to this response, and to a problem that is raised after this call."""
    request.state.rate_limit = limit
    response.headers.update(limit.headers())


async def _rate_limit_reporter(request: Request, response: Response) -> ReportRateLimit:
    return partial(set_rate_limit_headers, request, response)


ReportRateLimitDep = Annotated[ReportRateLimit, Depends(_rate_limit_reporter)]
