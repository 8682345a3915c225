"""Who is calling, and whether they may."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from auth_service.accounts.models import Permission, User
from auth_service.audit.models import Event
from auth_service.dependencies import AuditTrailDep, DatabaseDep
from auth_service.origin import OriginDep
from auth_service.sessions.repository import SessionRepository
from service_kit.problems import Forbidden, Unauthorized
from service_kit.tokens import InvalidToken, TokenVerifier, bearer_scheme

# Relative, so that Swagger's Authorize button works behind the gateway too.
BearerToken = Annotated[str | None, Depends(bearer_scheme("v1/token"))]


@dataclass(frozen=True)
class Caller:
    """`user` is as the database had it when the request began; who changes it loads and locks it anew."""

    user: User
    session_id: str


async def _optional_caller(request: Request, token: BearerToken, database: DatabaseDep) -> Caller | None:
    """Whoever the token is of. Raises `InvalidToken` at once if the session, all of them or the account has ended."""
    if token is None:
        return None
    verifier: TokenVerifier = request.app.state.token_verifier
    claims = await verifier.verify(token)
    async with database.reading() as session:
        user = await SessionRepository(session).get_with_user(claims.sid, claims.sub)
    if user is None or not user.accepts_token_of(claims.iat):
        raise InvalidToken
    return Caller(user, claims.sid)


OptionalCaller = Annotated[Caller | None, Depends(_optional_caller)]


async def _current_caller(caller: OptionalCaller) -> Caller:
    if caller is None:
        raise Unauthorized
    return caller


CurrentCaller = Annotated[Caller, Depends(_current_caller)]


async def _current_user(caller: CurrentCaller) -> User:
    return caller.user


CurrentUser = Annotated[User, Depends(_current_user)]


class _Allowed:
    """A dependency that lets through who has a permission, by the role the account has now."""

    def __init__(self, permission: Permission) -> None:
        self._permission = permission

    async def __call__(
        self, request: Request, user: CurrentUser, database: DatabaseDep, audit: AuditTrailDep, origin: OriginDep
    ) -> User:
        if user.may(self._permission):
            return user
        async with database.transaction() as session:
            wanted = f"{request.method} {request.scope['route'].path}"
            await audit.record(session, Event.AUTHZ_FAIL, origin, user_id=user.id, wanted=wanted)
        raise Forbidden


UsersReader = Annotated[User, Depends(_Allowed(Permission.READ_USERS))]
UsersWriter = Annotated[User, Depends(_Allowed(Permission.WRITE_USERS))]
AuditReader = Annotated[User, Depends(_Allowed(Permission.READ_AUDIT))]
