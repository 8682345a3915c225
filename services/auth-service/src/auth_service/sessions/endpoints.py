"""HTTP of sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import ValidationError

from auth_service.authorization import CurrentCaller, OptionalCaller
from auth_service.dependencies import ClockDep, DatabaseDep, LoginServiceDep, SessionServiceDep
from auth_service.origin import Origin, OriginDep
from auth_service.sessions.login import LoginService
from auth_service.sessions.problems import (
    EmailNotVerified,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionNotFound,
)
from auth_service.sessions.repository import SessionRepository
from auth_service.sessions.schemas import Login, Refresh, SessionList, SessionSummary, Tokens
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import tell_rate_limit
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["sessions"])

_LOGIN_PROBLEMS = problem_responses(
    InvalidCredentials, EmailNotVerified, ValidationFailed, TooManyRequests, ServiceUnavailable
)


@router.post("/login", summary="Log in by username or email", responses=_LOGIN_PROBLEMS)
async def log_in(
    request: Request, response: Response, credentials: Login, logins: LoginServiceDep, origin: OriginDep
) -> Tokens:
    return await _log_in(request, response, credentials, logins, origin)


@router.post("/token", summary="Log in with OAuth2's password form", responses=_LOGIN_PROBLEMS)
async def token(
    request: Request,
    response: Response,
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    logins: LoginServiceDep,
    origin: OriginDep,
) -> Tokens:
    """What Swagger's Authorize button and OAuth2 clients use. Scopes follow from the role, not from the form."""
    try:
        credentials = Login(login=form.username, password=form.password)
    except ValidationError:  # too long or empty for anybody's
        raise InvalidCredentials from None
    return await _log_in(request, response, credentials, logins, origin)


async def _log_in(
    request: Request, response: Response, credentials: Login, logins: LoginService, origin: Origin
) -> Tokens:
    tell_rate_limit(request, response, await logins.take_attempt(credentials.login, origin))
    response.headers["Cache-Control"] = "no-store"  # RFC 6749 §5.1
    return await logins.log_in(credentials, origin)


@router.post(
    "/refresh",
    summary="Exchange a refresh token for new tokens",
    description=(
        "Each refresh token works once; asked again within 10 seconds, for an answer that was lost, it gives the same "
        "successor. Any other use of a spent one ends its session: one of its two users has stolen it."
    ),
    responses=problem_responses(InvalidRefreshToken, RefreshTokenReused, ValidationFailed, ServiceUnavailable),
)
async def refresh(response: Response, body: Refresh, sessions: SessionServiceDep, origin: OriginDep) -> Tokens:
    response.headers["Cache-Control"] = "no-store"
    return await sessions.refresh(body.refresh_token, origin)


@router.post(
    "/logout",
    status_code=204,
    summary="End a session",
    description="That of the refresh token in the body; without one, that of the access token.",
    responses=problem_responses(Unauthorized, InvalidToken, ValidationFailed, ServiceUnavailable),
)
async def log_out(
    sessions: SessionServiceDep, origin: OriginDep, caller: OptionalCaller, body: Refresh | None = None
) -> None:
    if body is not None:
        await sessions.end_by_refresh_token(body.refresh_token, origin)
    elif caller is not None:
        await sessions.end(caller.session_id, caller.user.id, origin)
    else:
        raise Unauthorized


@router.post(
    "/logout-all",
    status_code=204,
    summary="End all of your sessions",
    description="This one too, and every access token issued so far, wherever it is used.",
    responses=problem_responses(Unauthorized, InvalidToken, ServiceUnavailable),
)
async def log_out_everywhere(caller: CurrentCaller, sessions: SessionServiceDep, origin: OriginDep) -> None:
    await sessions.end_all(caller.user.id, origin)


@router.get(
    "/sessions",
    summary="Your sessions, the last used first",
    responses=problem_responses(Unauthorized, InvalidToken, ServiceUnavailable),
)
async def list_sessions(caller: CurrentCaller, database: DatabaseDep, clock: ClockDep) -> SessionList:
    async with database.transaction() as session:
        live = await SessionRepository(session).list_live(caller.user.id, clock())
    return SessionList(
        items=[
            SessionSummary(
                id=each.id,
                client=each.client,
                address=each.address,
                created_at=each.created_at,
                last_used_at=each.last_used_at,
                expires_at=each.expires_at,
                is_current=each.id == caller.session_id,
            )
            for each in live
        ]
    )


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End one of your sessions",
    responses=problem_responses(Unauthorized, InvalidToken, SessionNotFound, ValidationFailed, ServiceUnavailable),
)
async def end_session(
    session_id: Annotated[str, Path(max_length=36, examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"])],
    caller: CurrentCaller,
    sessions: SessionServiceDep,
    origin: OriginDep,
) -> None:
    await sessions.end(session_id, caller.user.id, origin)
