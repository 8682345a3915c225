"""HTTP endpoints of sessions."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from auth_service.authorization import SCOPE_PROBLEMS, CallerMayWriteProfile
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import ClockDep, DatabaseDep
from auth_service.pagination import PageSize
from auth_service.sessions.authentication import BearerToken, CurrentCaller, optional_caller
from auth_service.sessions.dependencies import SessionServiceDep
from auth_service.sessions.problems import InvalidRefreshToken, RefreshTokenReused, SessionNotFound
from auth_service.sessions.repository import SessionRepository
from auth_service.sessions.schemas import (
    NO_STORE,
    TOKENS_RESPONSE,
    Logout,
    Refresh,
    SessionSummary,
    Tokens,
)
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.pagination import (
    InvalidCursor,
    decode_cursor,
    encode_cursor,
    page_response,
    set_link_header,
    split_page,
)
from service_kit.problems import ServiceUnavailable, TooManyRequests, Unauthorized, ValidationFailed, problem_responses
from service_kit.schemas import Page, UuidStr, is_uuid
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["sessions"])

_PAGE = page_response("list_sessions")
_END = {"operationId": "end_session", "parameters": {"path.session_id": "$response.body#/items/0/id"}}


async def _session_id(session_id: Annotated[UuidStr, Path()]) -> str:
    if not is_uuid(session_id):
        raise SessionNotFound
    return session_id


@router.post(
    "/refresh",
    summary="Exchange a refresh token for new tokens",
    description=(
        "A refresh token works once. A client that lost the response may repeat the request within a grace period, by "
        "default 10 seconds, and gets the same successor. Any other reuse ends the session, because the token may have "
        "been stolen."
    ),
    responses={
        200: TOKENS_RESPONSE,
        **problem_responses(
            InvalidRefreshToken, RefreshTokenReused, ValidationFailed, TooManyRequests, ServiceUnavailable
        ),
    },
)
async def refresh(response: Response, body: Refresh, sessions: SessionServiceDep, client: ClientInfoDep) -> Tokens:
    response.headers.update(NO_STORE)
    return (await sessions.refresh(body.refresh_token, client)).tokens


@router.post(
    "/logout",
    status_code=204,
    summary="Log out",
    description=(
        "Ends the session of the refresh token in the body, whether or not the access token is valid. Without a "
        "refresh token it ends the session of the access token."
    ),
    responses=problem_responses(Unauthorized, InvalidToken, ValidationFailed, ServiceUnavailable),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def log_out(
    *,
    request: Request,
    sessions: SessionServiceDep,
    database: DatabaseDep,
    client: ClientInfoDep,
    token: BearerToken,
    body: Logout | None = None,
) -> None:
    if body is not None and body.refresh_token is not None:
        # The access token is not checked: a client that was idle has an expired one.
        await sessions.end_by_refresh_token(body.refresh_token, client)
        return
    caller = await optional_caller(request, token, database, client)
    if caller is None:
        raise Unauthorized
    await sessions.end(caller.session_id, caller.user.id, client)


@router.post(
    "/logout-all",
    status_code=204,
    summary="Log out everywhere",
    description="Ends all of your sessions, including this one, and revokes all of your access tokens.",
    responses=problem_responses(*SCOPE_PROBLEMS),
)
async def log_out_everywhere(caller: CallerMayWriteProfile, sessions: SessionServiceDep, client: ClientInfoDep) -> None:
    await sessions.end_all(caller.user.id, client)


@router.get(
    "/sessions",
    summary="List your sessions, most recently used first",
    responses={
        200: {**_PAGE, "links": {**_PAGE["links"], "end": _END}},
        **problem_responses(Unauthorized, InvalidToken, InvalidCursor, ValidationFailed, ServiceUnavailable),
    },
)
async def list_sessions(
    *,
    caller: CurrentCaller,
    request: Request,
    response: Response,
    database: DatabaseDep,
    clock: ClockDep,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the previous page.")] = None,
    limit: PageSize = 100,
) -> Page[SessionSummary]:
    after = None if cursor is None else _position(cursor)
    async with database.reading(caller.user.id) as session:
        found = await SessionRepository(session).list_live(caller.user.id, clock(), limit=limit + 1, after=after)
    live, has_next = split_page(found, limit)
    next_cursor = encode_cursor(live[-1].last_used_at.isoformat(), live[-1].id) if has_next else None
    set_link_header(request, response, next_cursor)
    return Page(
        next_cursor=next_cursor,
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
        ],
    )


def _position(cursor: str) -> tuple[datetime, str]:
    """Raises `InvalidCursor`."""
    last_used_at, last_id = decode_cursor(cursor, str, str)
    try:
        moment = datetime.fromisoformat(last_used_at)
    except ValueError as error:
        raise InvalidCursor from error
    # Another offset could move the time out of the calendar.
    if moment.utcoffset() != timedelta(0) or not is_uuid(last_id):
        raise InvalidCursor
    return moment, last_id


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End one of your sessions",
    responses=problem_responses(*SCOPE_PROBLEMS, SessionNotFound),
)
async def end_session(
    caller: CallerMayWriteProfile,
    session_id: Annotated[str, Depends(_session_id)],
    sessions: SessionServiceDep,
    client: ClientInfoDep,
) -> None:
    await sessions.end(session_id, caller.user.id, client)
