"""What endpoints ask for, named after what it gives. All of it is made in the lifespan (`main`)."""

from typing import Annotated

from fastapi import Depends, Request

from service_kit.authentication import Authenticator, TokenRevoked
from service_kit.problems import Forbidden, ServiceUnavailable, Unauthorized
from service_kit.roles import Role
from service_kit.tokens import AccessToken, InvalidToken, bearer_scheme

# What every route for workers may answer.
WORKER_PROBLEMS = (Unauthorized, InvalidToken, TokenRevoked, Forbidden, ServiceUnavailable)

_WORKERS = frozenset({Role.TECHNICAL_WORKER, Role.ADMIN})

BearerToken = Annotated[str | None, Depends(bearer_scheme("/api/auth/v1/token"))]


async def _current_worker(request: Request, bearer: BearerToken) -> AccessToken:
    if bearer is None:
        raise Unauthorized
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.authenticate(bearer)
    if caller.role not in _WORKERS:
        raise Forbidden
    return caller


# Who looks after the system: a `technical_worker` or an `admin`.
CurrentWorker = Annotated[AccessToken, Depends(_current_worker)]
