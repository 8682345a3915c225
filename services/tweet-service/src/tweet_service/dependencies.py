"""Dependencies of endpoints, named after what they give. The lifespan creates all of it (`services`).

They are `async` without awaiting anything, because FastAPI would run a plain function in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request, Response, Security
from fastapi.security import SecurityScopes

from service_kit.authentication import Authenticator, TokenRevoked
from service_kit.authorization import CallerDependency, InsufficientScope
from service_kit.client_address import client_network
from service_kit.problems import ServiceUnavailable, TooManyRequests, Unauthorized
from service_kit.rate_limit import set_rate_limit_headers
from service_kit.roles import Scope
from service_kit.tokens import AccessToken, InvalidToken
from tweet_service.services import Services

# Problems of every route with an optional token, of every route that requires one, and of every route that writes.
PUBLIC_PROBLEMS = (InvalidToken, TokenRevoked, TooManyRequests, ServiceUnavailable)
CALLER_PROBLEMS = (Unauthorized, *PUBLIC_PROBLEMS)
WRITER_PROBLEMS = (*CALLER_PROBLEMS, InsufficientScope)


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]


class _LimitedCaller(CallerDependency):
    """Authenticates and authorises the caller, and counts the request in a rate limit.

    One dependency does all, because each dependency costs FastAPI more time than the work done here.
    """

    @staticmethod
    async def _count_read(request: Request, response: Response, cost: int = 1) -> None:
        """Reads are limited by address: see `client_network`."""
        services = services_of(request)
        limit = await services.limiter.take(services.reads, client_network(request), cost)
        set_rate_limit_headers(request, response, limit)

    @staticmethod
    async def _count_write(request: Request, response: Response, caller: AccessToken) -> None:
        """Writes are limited by user."""
        services = services_of(request)
        set_rate_limit_headers(request, response, await services.limiter.take(services.writes, caller.sub))


SEARCH_COST = 20


class _OptionalCaller(_LimitedCaller):
    def __init__(self, cost: int = 1) -> None:
        super().__init__()
        self._cost = cost

    async def __call__(self, request: Request, response: Response) -> AccessToken | None:
        await self._count_read(request, response, self._cost)
        bearer = await self._bearer(request)
        authenticator: Authenticator = request.app.state.authenticator
        return None if bearer is None else await authenticator.try_authenticate(bearer)


class _ReadingCaller(_LimitedCaller):
    async def __call__(self, request: Request, response: Response, needed: SecurityScopes) -> AccessToken:
        await self._count_read(request, response)
        return await self._authorize(request, needed)


class _WritingCaller(_LimitedCaller):
    async def __call__(self, request: Request, response: Response, needed: SecurityScopes) -> AccessToken:
        caller = await self._authorize(request, needed)
        await self._count_write(request, response, caller)
        return caller


# The caller of a public route; None without a token.
OptionalCaller = Annotated[AccessToken | None, Depends(_OptionalCaller())]
# The caller of a search, which costs as much as many reads.
SearchingCaller = Annotated[AccessToken | None, Depends(_OptionalCaller(SEARCH_COST))]
# The caller of a route that reads and requires a token, with any scope.
Caller = Annotated[AccessToken, Depends(_ReadingCaller())]
# The caller of a route that writes.
WritingCaller = Annotated[AccessToken, Security(_WritingCaller(), scopes=[Scope.TWEETS_WRITE])]
