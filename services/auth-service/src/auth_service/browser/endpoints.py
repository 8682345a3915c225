"""HTTP of browsers' sessions.

The same rules, limits and audit events as those of `/v1/register`, `/v1/login`, `/v1/refresh` and `/v1/logout`; but the
refresh token goes in a cookie, which only these calls get, and only a page of this site can ask (`same_origin`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from auth_service.accounts.problems import EmailTaken, PasswordsDoNotMatch, UsernameReserved, UsernameTaken
from auth_service.accounts.schemas import Registration, RegistrationAccepted, UserProfile
from auth_service.browser.cookie import RefreshCookie
from auth_service.browser.problems import CrossSiteRequest
from auth_service.browser.same_origin import HEADER_PARAMETER, refuse_other_sites
from auth_service.browser.schemas import COOKIE_HEADER, TOKENS_ANSWER, BrowserRegistered, BrowserTokens
from auth_service.dependencies import AccountServiceDep, LoginServiceDep, SessionServiceDep
from auth_service.origin import Origin, OriginDep
from auth_service.passwords.problems import PasswordTooWeak
from auth_service.sessions.problems import EmailNotVerified, InvalidCredentials, InvalidRefreshToken, RefreshTokenReused
from auth_service.sessions.schemas import Login, Tokens
from auth_service.sessions.service import REMEMBERED_LIFETIME, SessionService
from service_kit.problems import Forbidden, ServiceUnavailable, TooManyRequests, ValidationFailed, problem_responses
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
    summary="Open an account in a browser",
    description="Who registers is logged in, as long as the browser is open.",
    responses={
        201: TOKENS_ANSWER,
        202: {
            "model": RegistrationAccepted,
            "description": "With `AUTH_REQUIRE_EMAIL_VERIFICATION`: a mail is on its way to the address.",
        },
        **problem_responses(
            CrossSiteRequest,
            Forbidden,
            UsernameTaken,
            EmailTaken,
            ValidationFailed,
            PasswordsDoNotMatch,
            PasswordTooWeak,
            UsernameReserved,
            TooManyRequests,
            ServiceUnavailable,
        ),
    },
    openapi_extra=_EXTRA,
)
async def register_in_browser(
    *,
    response: Response,
    registration: Registration,
    accounts: AccountServiceDep,
    sessions: SessionServiceDep,
    origin: OriginDep,
    cookie: RefreshCookieDep,
    tell: ReportRateLimitDep,
) -> BrowserRegistered | JSONResponse:
    tell(await accounts.take_registration(origin))
    registered = await accounts.register(registration, None, origin)
    if registered is None:
        return JSONResponse(RegistrationAccepted().model_dump(), 202, dict(response.headers))
    user, tokens = registered
    await _end_session_before(cookie, sessions, origin)
    response.headers.update(_kept(cookie.with_token(tokens.refresh_token, None)))
    return BrowserRegistered(user=UserProfile.model_validate(user), **_shown(tokens))


@router.post(
    "/login",
    summary="Log in in a browser, by username or email",
    description="With `remember_me` the browser keeps the session when it is closed.",
    responses={
        200: TOKENS_ANSWER,
        **problem_responses(
            CrossSiteRequest,
            InvalidCredentials,
            EmailNotVerified,
            ValidationFailed,
            TooManyRequests,
            ServiceUnavailable,
        ),
    },
    openapi_extra=_EXTRA,
)
async def log_in_in_browser(
    *,
    response: Response,
    credentials: Login,
    logins: LoginServiceDep,
    sessions: SessionServiceDep,
    origin: OriginDep,
    cookie: RefreshCookieDep,
    tell: ReportRateLimitDep,
) -> BrowserTokens:
    tokens = await logins.log_in(credentials, origin, tell)
    await _end_session_before(cookie, sessions, origin)
    kept_for = REMEMBERED_LIFETIME if credentials.remember_me else None
    response.headers.update(_kept(cookie.with_token(tokens.refresh_token, kept_for)))
    return BrowserTokens(**_shown(tokens))


@router.post(
    "/refresh",
    summary="Exchange the cookie's refresh token for new tokens",
    description="As `/v1/refresh` does. A token that is good for nothing is taken back.",
    responses={
        200: TOKENS_ANSWER,
        **problem_responses(CrossSiteRequest, InvalidRefreshToken, RefreshTokenReused, ServiceUnavailable),
    },
    openapi_extra=_EXTRA,
)
async def refresh_in_browser(
    response: Response, sessions: SessionServiceDep, origin: OriginDep, cookie: RefreshCookieDep
) -> BrowserTokens:
    if cookie.token is None:
        raise InvalidRefreshToken
    try:
        tokens = await sessions.refresh(cookie.token, origin)
    except InvalidRefreshToken as problem:
        problem.headers["Set-Cookie"] = cookie.without_token()
        raise
    kept_for = await sessions.remembered_for(tokens.refresh_token)
    response.headers.update(_kept(cookie.with_token(tokens.refresh_token, kept_for)))
    return BrowserTokens(**_shown(tokens))


@router.post(
    "/logout",
    status_code=204,
    summary="End the browser's session",
    responses={
        204: {"headers": {"Set-Cookie": COOKIE_HEADER}},
        **problem_responses(CrossSiteRequest, ServiceUnavailable),
    },
    openapi_extra=_EXTRA,
)
async def log_out_in_browser(
    response: Response, sessions: SessionServiceDep, origin: OriginDep, cookie: RefreshCookieDep
) -> None:
    await _end_session_before(cookie, sessions, origin)
    response.headers["Set-Cookie"] = cookie.without_token()


async def _end_session_before(cookie: RefreshCookie, sessions: SessionService, origin: Origin) -> None:
    """Whose token the browser is about to forget."""
    if cookie.token is not None:
        await sessions.end_by_refresh_token(cookie.token, origin)


def _kept(cookie: str) -> dict[str, str]:
    return {"Set-Cookie": cookie, "Cache-Control": "no-store"}


def _shown(tokens: Tokens) -> dict[str, Any]:
    return tokens.model_dump(exclude={"refresh_token"})
