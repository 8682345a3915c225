"""What endpoints ask for, named after what it gives. All of it is made in the lifespan (`services`).

They are `async` without awaiting anything: FastAPI would run a plain function in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request

from service_kit.problems import ServiceUnavailable, TooManyRequests, Unauthorized
from service_kit.rate_limit import TellRateLimitDep
from service_kit.tokens import AccessToken, InvalidToken, bearer_scheme
from tweet_service.authentication import Authenticator, TokenRevoked
from tweet_service.services import Services

BearerToken = Annotated[str | None, Depends(bearer_scheme("/api/auth/v1/token"))]

# What every route of a kind may answer.
READER_PROBLEMS = (InvalidToken, TokenRevoked, TooManyRequests, ServiceUnavailable)
USER_PROBLEMS = (Unauthorized, *READER_PROBLEMS)


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


async def _reader(
    request: Request, bearer: BearerToken, services: ServicesDep, tell: TellRateLimitDep
) -> AccessToken | None:
    """Whoever reads, if he says who he is. Reads are limited by address."""
    address = request.client.host if request.client else ""
    tell(await services.limiter.take(services.reads, address))
    authenticator: Authenticator = request.app.state.authenticator
    return None if bearer is None else await authenticator.reader(bearer)


async def _user(request: Request, bearer: BearerToken) -> AccessToken:
    if bearer is None:
        raise Unauthorized
    authenticator: Authenticator = request.app.state.authenticator
    return await authenticator.user(bearer)


CurrentReader = Annotated[AccessToken | None, Depends(_reader)]
CurrentUser = Annotated[AccessToken, Depends(_user)]


async def _writer(user: CurrentUser, services: ServicesDep, tell: TellRateLimitDep) -> AccessToken:
    """Whoever writes. Writes are limited by person."""
    tell(await services.limiter.take(services.writes, user.sub))
    return user


CurrentWriter = Annotated[AccessToken, Depends(_writer)]
