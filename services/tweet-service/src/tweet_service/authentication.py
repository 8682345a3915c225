"""Who is calling: access tokens of auth-service, and their revocation.

The sync is the revocation feed: changing a password, logging out everywhere, deactivating or deleting an account
reaches the copy of the users, and from then on older tokens are refused here, without a call to auth-service.
"""

from typing import Annotated

from fastapi import Depends, Request

from service_kit.problems import ServiceUnavailable, Unauthorized
from service_kit.tokens import AccessToken, InvalidToken, TokenVerifier, bearer_scheme
from tweet_service.profiles.repository import ProfileRepository, ProfileRepositoryDep

ADMIN = "admin"

BearerToken = Annotated[str | None, Depends(bearer_scheme("/api/auth/v1/token"))]


class TokenRevoked(InvalidToken):
    code, title = "token-revoked", "The access token was revoked. Log in again."


async def token_verifier(request: Request) -> TokenVerifier:
    verifier: TokenVerifier = request.app.state.token_verifier
    return verifier


TokenVerifierDep = Annotated[TokenVerifier, Depends(token_verifier)]


async def current_user(bearer: BearerToken, tokens: TokenVerifierDep, profiles: ProfileRepositoryDep) -> AccessToken:
    """The caller of a route that needs one. A person whose copy has not arrived yet is believed."""
    if bearer is None:
        raise Unauthorized
    token = await tokens.verify(bearer)
    await _require_unrevoked(token, profiles)
    return token


async def current_reader(
    bearer: BearerToken, tokens: TokenVerifierDep, profiles: ProfileRepositoryDep
) -> AccessToken | None:
    """The caller of a public route, if he says who he is.

    A token that isn't valid is still a 401, so that a client learns of it; but while no keys can be had, reading
    goes on, anonymously.
    """
    if bearer is None:
        return None
    try:
        token = await tokens.verify(bearer)
    except ServiceUnavailable:
        return None
    await _require_unrevoked(token, profiles)
    return token


async def _require_unrevoked(token: AccessToken, profiles: ProfileRepository) -> None:
    """Raises `TokenRevoked`. A tombstone is no absence: it refuses every token."""
    known = await profiles.get_by_id(token.sub)
    if known is not None and not known.accepts_token_of(token.iat):
        raise TokenRevoked


CurrentUser = Annotated[AccessToken, Depends(current_user)]
CurrentReader = Annotated[AccessToken | None, Depends(current_reader)]
