"""Authenticates the caller of a request by an access token."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from auth_service.client_info import ClientInfoDep
from auth_service.database import Requester, set_requester
from auth_service.dependencies import DatabaseDep
from auth_service.sessions.repository import SessionRepository
from auth_service.users.models import User
from service_kit.problems import Unauthorized
from service_kit.roles import SCOPES, Role, Scope
from service_kit.tokens import InvalidToken, TokenVerifier, bearer_scheme

# Relative, so that Swagger's Authorize button works with and without the gateway's prefix.
BearerToken = Annotated[str | None, Depends(bearer_scheme("v1/token"))]


@dataclass(frozen=True)
class Caller:
    """`user` is the account as of the start of the request. A change must load and lock it first.

    `scopes` are those of the token that the account's present role implies, too: a demotion takes effect immediately.
    """

    user: User
    session_id: str
    scopes: frozenset[Scope]


async def optional_caller(
    request: Request, token: BearerToken, database: DatabaseDep, client: ClientInfoDep
) -> Caller | None:
    """The caller, or None without an access token.

    Raises `InvalidToken`, immediately after the session or the account was ended.
    """
    if token is None:
        return None
    verifier: TokenVerifier = request.app.state.token_verifier
    claims = await verifier.verify(token)
    set_requester(Requester(claims.sid, client.network))
    async with database.reading(claims.sub) as session:
        user = await SessionRepository(session).get_with_user(claims.sid, claims.sub)
    if user is None or not user.accepts(claims):
        raise InvalidToken
    return Caller(user, claims.sid, claims.scopes.intersection(SCOPES[Role(user.role)]))


# The caller, or None without an access token. Raises `InvalidToken`.
OptionalCaller = Annotated[Caller | None, Depends(optional_caller)]


async def _current_caller(caller: OptionalCaller) -> Caller:
    if caller is None:
        raise Unauthorized
    return caller


# Raises `Unauthorized` without an access token, or `InvalidToken`.
CurrentCaller = Annotated[Caller, Depends(_current_caller)]
