"""HTTP of sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Response
from pydantic import ValidationError

from auth_service.authorization import CurrentCaller, OptionalCaller
from auth_service.dependencies import ClockDep, DatabaseDep, LoginServiceDep, SessionServiceDep
from auth_service.origin import OriginDep
from auth_service.sessions.problems import (
    EmailNotVerified,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionNotFound,
)
from auth_service.sessions.repository import SessionRepository
from auth_service.sessions.schemas import (
    TOKENS_ANSWER,
    Login,
    PasswordGrant,
    Refresh,
    SessionList,
    SessionSummary,
    Tokens,
)
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep
from service_kit.schemas import UuidStr, is_uuid
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["sessions"])

# RFC 6749 §5.1: answers with tokens.
NOT_STORED = {"Cache-Control": "no-store"}

_LOGIN_ANSWERS = {
    200: TOKENS_ANSWER,
    **problem_responses(InvalidCredentials, EmailNotVerified, ValidationFailed, TooManyRequests, ServiceUnavailable),
}


async def _session_id(session_id: Annotated[UuidStr, Path()]) -> str:
    if not is_uuid(session_id):
        raise SessionNotFound
    return session_id


@router.post("/login", summary="Log in by username or email", responses=_LOGIN_ANSWERS)
async def log_in(
    response: Response, credentials: Login, logins: LoginServiceDep, origin: OriginDep, tell: ReportRateLimitDep
) -> Tokens:
    response.headers.update(NOT_STORED)
    return await logins.log_in(credentials, origin, tell)


@router.post("/token", summary="Log in with OAuth2's password form", responses=_LOGIN_ANSWERS)
async def token(
    response: Response,
    form: Annotated[PasswordGrant, Form()],
    logins: LoginServiceDep,
    origin: OriginDep,
    tell: ReportRateLimitDep,
) -> Tokens:
    """What Swagger's Authorize button and OAuth2 clients use."""
    try:
        credentials = Login(login=form.username, password=form.password)
    except ValidationError:  # too long or empty for anybody's
        raise InvalidCredentials from None
    response.headers.update(NOT_STORED)
    return await logins.log_in(credentials, origin, tell)


@router.post(
    "/refresh",
    summary="Exchange a refresh token for new tokens",
    description=(
        "Each refresh token works once; asked again within 10 seconds, for an answer that was lost, it gives the same "
        "successor. Any other use of a spent one ends its session: one of its two users has stolen it."
    ),
    responses={
        200: TOKENS_ANSWER,
        **problem_responses(InvalidRefreshToken, RefreshTokenReused, ValidationFailed, ServiceUnavailable),
    },
)
async def refresh(response: Response, body: Refresh, sessions: SessionServiceDep, origin: OriginDep) -> Tokens:
    response.headers.update(NOT_STORED)
    return await sessions.refresh(body.refresh_token, origin)


@router.post(
    "/logout",
    status_code=204,
    summary="End a session",
    description="That of the refresh token in the body; without one, that of the access token.",
    responses=problem_responses(Unauthorized, InvalidToken, ValidationFailed, ServiceUnavailable),
    openapi_extra=TOKEN_IS_OPTIONAL,
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
    responses={
        200: {
            "links": {
                "end": {
                    "operationId": "end_session",
                    "parameters": {"path.session_id": "$response.body#/items/0/id"},
                }
            }
        },
        **problem_responses(Unauthorized, InvalidToken, ServiceUnavailable),
    },
)
async def list_sessions(caller: CurrentCaller, database: DatabaseDep, clock: ClockDep) -> SessionList:
    async with database.reading() as session:
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
    responses=problem_responses(Unauthorized, InvalidToken, SessionNotFound, ServiceUnavailable),
)
async def end_session(
    caller: CurrentCaller,
    session_id: Annotated[str, Depends(_session_id)],
    sessions: SessionServiceDep,
    origin: OriginDep,
) -> None:
    await sessions.end(session_id, caller.user.id, origin)
