"""What endpoints ask for, named after what it gives."""

from typing import Annotated

from fastapi import Depends, Request

from auth_service.accounts.models import User
from auth_service.accounts.repository import AccountRepository
from auth_service.accounts.service import AccountService
from auth_service.database import DatabaseSession
from auth_service.sessions.repository import RefreshTokenRepository
from auth_service.sessions.service import SessionService
from service_kit.problems import Unauthorized
from service_kit.tokens import InvalidToken, TokenVerifier, bearer_scheme

# Relative, so that Swagger's Authorize button works behind the gateway too.
BearerToken = Annotated[str | None, Depends(bearer_scheme("v1/token"))]


def _account_repository(session: DatabaseSession) -> AccountRepository:
    return AccountRepository(session)


AccountRepositoryDep = Annotated[AccountRepository, Depends(_account_repository, scope="function")]


def _account_service(request: Request, accounts: AccountRepositoryDep) -> AccountService:
    return AccountService(accounts, request.app.state.password_hasher)


def _session_service(request: Request, session: DatabaseSession, accounts: AccountRepositoryDep) -> SessionService:
    state = request.app.state
    return SessionService(accounts, RefreshTokenRepository(session), state.password_hasher, state.access_tokens)


AccountServiceDep = Annotated[AccountService, Depends(_account_service, scope="function")]
SessionServiceDep = Annotated[SessionService, Depends(_session_service, scope="function")]


async def _optional_user(request: Request, token: BearerToken, accounts: AccountRepositoryDep) -> User | None:
    """Whoever the token is of, as the database has them now. Raises `InvalidToken`."""
    if token is None:
        return None
    verifier: TokenVerifier = request.app.state.token_verifier
    claims = await verifier.verify(token)
    user = await accounts.get_by_id(claims.sub)
    if user is None or not user.is_active:
        raise InvalidToken
    if user.tokens_valid_after is not None and claims.iat < user.tokens_valid_after.timestamp():
        raise InvalidToken
    return user


OptionalUser = Annotated[User | None, Depends(_optional_user, scope="function")]


def _current_user(user: OptionalUser) -> User:
    if user is None:
        raise Unauthorized
    return user


CurrentUser = Annotated[User, Depends(_current_user, scope="function")]
