"""What endpoints ask for, named after what it gives. All of it is made in the lifespan (`services`).

They are `async` without awaiting anything: FastAPI would run a plain function in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.security.base import SecurityBase

from service_kit.authentication import Authenticator, TokenRevoked
from service_kit.problems import ServiceUnavailable, TooManyRequests, Unauthorized
from service_kit.rate_limit import set_rate_limit_headers
from service_kit.tokens import AccessToken, InvalidToken, bearer_scheme
from tweet_service.services import Services

# What every route of a kind may answer.
READER_PROBLEMS = (InvalidToken, TokenRevoked, TooManyRequests, ServiceUnavailable)
USER_PROBLEMS = (Unauthorized, *READER_PROBLEMS)


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]


class _Caller(SecurityBase):
    """Whoever calls, by the bearer token.

    One dependency that does it all: each costs FastAPI more than what is done in here. It is a security scheme, so that
    OpenAPI shows it.
    """

    def __init__(self) -> None:
        self._scheme = bearer_scheme("/api/auth/v1/token")
        self.model, self.scheme_name = self._scheme.model, self._scheme.scheme_name

    @staticmethod
    async def _take_read(request: Request, response: Response) -> None:
        services = services_of(request)
        address = request.client.host if request.client else ""
        set_rate_limit_headers(request, response, await services.limiter.take(services.reads, address))

    async def _user(self, request: Request) -> AccessToken:
        bearer = await self._scheme(request)
        if bearer is None:
            raise Unauthorized
        authenticator: Authenticator = request.app.state.authenticator
        return await authenticator.authenticate(bearer)


class _Reader(_Caller):
    """Whoever reads, if he says who he is. Reads are limited by address."""

    async def __call__(self, request: Request, response: Response) -> AccessToken | None:
        await self._take_read(request, response)
        bearer = await self._scheme(request)
        authenticator: Authenticator = request.app.state.authenticator
        return None if bearer is None else await authenticator.try_authenticate(bearer)


class _User(_Caller):
    """Whoever reads what needs somebody to read it. Limited as other reads are."""

    async def __call__(self, request: Request, response: Response) -> AccessToken:
        await self._take_read(request, response)
        return await self._user(request)


class _Writer(_Caller):
    """Whoever writes. Writes are limited by person."""

    async def __call__(self, request: Request, response: Response) -> AccessToken:
        user, services = await self._user(request), services_of(request)
        set_rate_limit_headers(request, response, await services.limiter.take(services.writes, user.sub))
        return user


CurrentReader = Annotated[AccessToken | None, Depends(_Reader())]
CurrentUser = Annotated[AccessToken, Depends(_User())]
CurrentWriter = Annotated[AccessToken, Depends(_Writer())]
