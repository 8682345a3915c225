"""How a rate limit is told to a client: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends
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


# Takes a limit to wherever the client will hear of it.
TellRateLimit = Callable[[RateLimit], None]


def tell_rate_limit(request: Request, response: Response, limit: RateLimit) -> None:
    """Send it with whatever the answer will be: this response, or a problem that is raised later."""
    request.state.rate_limit = limit
    response.headers.update(limit.headers())


async def _tell_rate_limit(request: Request, response: Response) -> TellRateLimit:
    return partial(tell_rate_limit, request, response)


# Sends a limit with whatever the answer will be: the response, or a problem that is raised later.
TellRateLimitDep = Annotated[TellRateLimit, Depends(_tell_rate_limit)]
