"""HTTP endpoints of browsers' sessions.

The rules, limits and audit events are those of `/v1/register`, `/v1/login`, `/v1/refresh` and `/v1/logout`. But the
refresh token is in a cookie that the browser sends to these endpoints only, and only pages of this site may call them
(`same_origin`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from auth_service.browser.cookie import RefreshCookie
from auth_service.browser.problems import CrossSiteRequest
from auth_service.browser.same_origin import HEADER_PARAMETER, refuse_other_sites
from auth_service.browser.schemas import COOKIE_HEADER, TOKENS_RESPONSE, BrowserRegistered, BrowserTokens
from auth_service.client_info import ClientInfo, ClientInfoDep
from auth_service.login.dependencies import LoginServiceDep
from auth_service.login.problems import LOGIN_PROBLEMS
from auth_service.login.schemas import Login
from auth_service.registration.dependencies import RegistrationServiceDep
from auth_service.registration.problems import REGISTRATION_PROBLEMS
from auth_service.registration.schemas import ACCEPTED_RESPONSE, Registration, RegistrationAccepted
from auth_service.sessions.dependencies import SessionServiceDep
from auth_service.sessions.problems import InvalidRefreshToken, RefreshTokenReused
from auth_service.sessions.schemas import NO_STORE, Tokens
from auth_service.sessions.service import SessionService
from auth_service.users.schemas import UserProfile
from service_kit.problems import ServiceUnavailable, TooManyRequests, problem_responses
from service_kit.rate_limit import ReportRateLimitDep

PATH = "/v1/browser"

router = APIRouter(prefix=PATH, tags=["browser"], dependencies=[Depends(refuse_other_sites)])

_EXTRA: dict[str, Any] = {"parameters": [HEADER_PARAMETER]}


async def _cookie(request: Request) -> RefreshCookie:
    return RefreshCookie.of(request, PATH)


RefreshCookieDep = Annotated[RefreshCookie, Depends(_cookie)]


@router.post(
    "/register",
    status_code=201,
    response_model=BrowserRegistered,
    summary="Sign up in a browser",
    description="Also logs the user in until the browser is closed.",
    responses={
        201: TOKENS_RESPONSE,
        202: ACCEPTED_RESPONSE,
        **problem_responses(CrossSiteRequest, *REGISTRATION_PROBLEMS),
    },
    openapi_extra=_EXTRA,
)
async def register_in_browser(
    *,
    response: Response,
    body: Registration,
    registrations: RegistrationServiceDep,
    sessions: SessionServiceDep,
    client: ClientInfoDep,
    cookie: RefreshCookieDep,
    report: ReportRateLimitDep,
) -> BrowserRegistered | JSONResponse:
    limit = await registrations.take_attempt(client)
    report(limit)
    registered = await registrations.register(body, None, client, rank=limit.used - 1)
    if registered is None:
        return JSONResponse(RegistrationAccepted().model_dump(), 202, dict(response.headers))
    user, tokens = registered
    await _end_present_session(cookie, sessions, client)
    response.headers.update(_headers(cookie.with_token(tokens.refresh_token, None)))
    return BrowserRegistered(user=UserProfile.model_validate(user), **_without_refresh_token(tokens))


@router.post(
    "/login",
    summary="Log in in a browser, by username or email",
    description="With `remember_me` the session survives closing the browser.",
    responses={
        200: TOKENS_RESPONSE,
        **problem_responses(CrossSiteRequest, *LOGIN_PROBLEMS),
    },
    openapi_extra=_EXTRA,
)
async def log_in_in_browser(
    *,
    response: Response,
    credentials: Login,
    logins: LoginServiceDep,
    sessions: SessionServiceDep,
    client: ClientInfoDep,
    cookie: RefreshCookieDep,
    report: ReportRateLimitDep,
) -> BrowserTokens:
    tokens = await logins.log_in(credentials, client, report)
    await _end_present_session(cookie, sessions, client)
    max_age = sessions.lifetimes.remembered if credentials.remember_me else None
    response.headers.update(_headers(cookie.with_token(tokens.refresh_token, max_age)))
    return BrowserTokens(**_without_refresh_token(tokens))


@router.post(
    "/refresh",
    summary="Exchange the cookie's refresh token for new tokens",
    description="Like `/v1/refresh`. An invalid token's cookie is deleted.",
    responses={
        200: TOKENS_RESPONSE,
        **problem_responses(
            CrossSiteRequest, InvalidRefreshToken, RefreshTokenReused, TooManyRequests, ServiceUnavailable
        ),
    },
    openapi_extra=_EXTRA,
)
async def refresh_in_browser(
    response: Response, sessions: SessionServiceDep, client: ClientInfoDep, cookie: RefreshCookieDep
) -> BrowserTokens:
    if cookie.token is None:
        raise InvalidRefreshToken
    try:
        refreshed = await sessions.refresh(cookie.token, client)
    except InvalidRefreshToken as problem:
        problem.headers["Set-Cookie"] = cookie.without_token()
        raise
    tokens = refreshed.tokens
    response.headers.update(_headers(cookie.with_token(tokens.refresh_token, refreshed.remembered_for)))
    return BrowserTokens(**_without_refresh_token(tokens))


@router.post(
    "/logout",
    status_code=204,
    summary="Log out in a browser",
    responses={
        204: {"headers": {"Set-Cookie": COOKIE_HEADER}},
        **problem_responses(CrossSiteRequest, ServiceUnavailable),
    },
    openapi_extra=_EXTRA,
)
async def log_out_in_browser(
    response: Response, sessions: SessionServiceDep, client: ClientInfoDep, cookie: RefreshCookieDep
) -> None:
    await _end_present_session(cookie, sessions, client)
    response.headers["Set-Cookie"] = cookie.without_token()


async def _end_present_session(cookie: RefreshCookie, sessions: SessionService, client: ClientInfo) -> None:
    """End the session whose cookie the response replaces or deletes."""
    if cookie.token is not None:
        await sessions.end_by_refresh_token(cookie.token, client)


def _headers(cookie: str) -> dict[str, str]:
    return {"Set-Cookie": cookie, **NO_STORE}


def _without_refresh_token(tokens: Tokens) -> dict[str, Any]:
    return tokens.model_dump(exclude={"refresh_token"})
