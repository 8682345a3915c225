"""Dependencies of the endpoints. The lifespan (`main`) creates the objects that they return."""

from typing import Annotated

from fastapi import Depends, Request

from service_kit.authentication import Authenticator, TokenRevoked
from service_kit.problems import Forbidden, ServiceUnavailable, Unauthorized
from service_kit.roles import Role
from service_kit.tokens import AccessToken, InvalidToken, bearer_scheme

# The problems that every endpoint for workers can return.
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


# The caller, who must be a `technical_worker` or an `admin`.
CurrentWorker = Annotated[AccessToken, Depends(_current_worker)]
