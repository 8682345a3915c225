"""HTTP endpoints of the login."""

from typing import Annotated

from fastapi import APIRouter, Form, Response
from pydantic import ValidationError

from auth_service.client_info import ClientInfoDep
from auth_service.login.dependencies import LoginServiceDep
from auth_service.login.oauth_errors import TokenRoute, UnsupportedGrantType, oauth_error_responses
from auth_service.login.problems import LOGIN_PROBLEMS, EmailNotVerified, InvalidCredentials
from auth_service.login.schemas import Login, TokenRequest
from auth_service.sessions.dependencies import SessionServiceDep
from auth_service.sessions.problems import InvalidRefreshToken, RefreshTokenReused
from auth_service.sessions.schemas import NO_STORE, TOKENS_RESPONSE, Tokens
from service_kit.problems import (
    BadRequest,
    FieldError,
    ServiceUnavailable,
    TooManyRequests,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep

router = APIRouter(prefix="/v1", tags=["sessions"])
oauth_router = APIRouter(prefix="/v1", tags=["sessions"], route_class=TokenRoute)


@router.post(
    "/login",
    summary="Log in by username or email",
    responses={200: TOKENS_RESPONSE, **problem_responses(*LOGIN_PROBLEMS)},
)
async def log_in(
    response: Response, credentials: Login, logins: LoginServiceDep, client: ClientInfoDep, report: ReportRateLimitDep
) -> Tokens:
    response.headers.update(NO_STORE)
    return await logins.log_in(credentials, client, report)


@oauth_router.post(
    "/token",
    summary="Log in, or renew tokens, with OAuth2's form",
    responses={
        200: TOKENS_RESPONSE,
        **oauth_error_responses(
            InvalidCredentials,
            EmailNotVerified,
            InvalidRefreshToken,
            RefreshTokenReused,
            UnsupportedGrantType,
            ValidationFailed,
            BadRequest,
            TooManyRequests,
        ),
        **problem_responses(ServiceUnavailable),
    },
)
async def token(
    *,
    response: Response,
    form: Annotated[TokenRequest, Form()],
    logins: LoginServiceDep,
    sessions: SessionServiceDep,
    client: ClientInfoDep,
    report: ReportRateLimitDep,
) -> Tokens:
    """For Swagger's Authorize button and OAuth2 clients."""
    response.headers.update(NO_STORE)
    if form.grant_type == "refresh_token":
        _require(form, "refresh_token")
        return (await sessions.refresh(form.refresh_token, client)).tokens
    _require(form, "username", "password")
    try:
        credentials = Login(login=form.username, password=form.password)
    except ValidationError:  # no account has such a name or password
        raise InvalidCredentials from None
    return await logins.log_in(credentials, client, report)


def _require(form: TokenRequest, *names: str) -> None:
    missing = [
        FieldError(detail=f"Required with {form.grant_type}.", code="required-by-grant-type", pointer=f"#/{name}")
        for name in names
        if not getattr(form, name)
    ]
    if missing:
        raise ValidationFailed("; ".join(f"{each.pointer}: {each.detail}" for each in missing), errors=missing)
