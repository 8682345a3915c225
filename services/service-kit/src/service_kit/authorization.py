"""Authorisation by scope: each endpoint names the scope that it needs, as in `Security(…, scopes=[Scope.SYNC_READ])`.

FastAPI passes the scopes to the dependency that checks them, and shows them in OpenAPI, from which the table of roles
and endpoints in docs/security.md is generated.
"""

from collections.abc import Collection, Iterable
from functools import partial

from fastapi import Request
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from service_kit.authentication import CallerAuthenticator, TokenRevoked
from service_kit.problems import Forbidden, ServiceUnavailable, Unauthorized
from service_kit.roles import Scope
from service_kit.sse.response import StreamToken
from service_kit.tokens import AccessToken, InvalidToken, bearer_scheme


class InsufficientScope(Forbidden):
    """RFC 6750 §3.1 `insufficient_scope`. The `code` is that of every 403 without a reason of its own."""

    def __init__(self, scope: str, detail: str | None = None) -> None:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(detail or f"The scope {scope} is required.", headers={"WWW-Authenticate": challenge})


def require_scopes(granted: Collection[Scope], needed: Iterable[str]) -> None:
    """Raises `InsufficientScope` unless all needed scopes are granted."""
    for scope in needed:
        if scope not in granted:
            raise InsufficientScope(scope)


# The problems of every endpoint that needs a scope, except in auth-service, which refuses a revoked token as invalid.
SCOPE_PROBLEMS = (Unauthorized, InvalidToken, TokenRevoked, InsufficientScope, ServiceUnavailable)


def stream_token(request: Request, caller: AccessToken) -> StreamToken:
    """The token of a stream that the caller opens with this request."""
    authenticator: CallerAuthenticator = request.app.state.authenticator
    return StreamToken(authenticator.seconds_left(caller), partial(authenticator.require_not_revoked, caller))


class CallerDependency(SecurityBase):
    """Base of dependencies on the caller of a request, whom `app.state.authenticator` authenticates.

    It is a security scheme, so that OpenAPI shows it.
    """

    def __init__(self) -> None:
        self._scheme = bearer_scheme("/api/auth/v1/token")
        self.model, self.scheme_name = self._scheme.model, self._scheme.scheme_name

    async def _bearer(self, request: Request) -> str | None:
        return await self._scheme(request)

    async def _authorize(self, request: Request, needed: SecurityScopes) -> AccessToken:
        """The caller, whose token has the scopes that the endpoint names. Raises `SCOPE_PROBLEMS`."""
        bearer = await self._bearer(request)
        if bearer is None:
            raise Unauthorized
        authenticator: CallerAuthenticator = request.app.state.authenticator
        caller = await authenticator.authenticate(bearer)
        require_scopes(caller.scopes, needed.scopes)
        return caller


class ScopedCaller(CallerDependency):
    async def __call__(self, request: Request, needed: SecurityScopes) -> AccessToken:
        return await self._authorize(request, needed)
