"""HTTP endpoints of the login."""

from typing import Annotated

from fastapi import APIRouter, Form, Response
from pydantic import ValidationError

from auth_service.client_info import ClientInfoDep
from auth_service.login.dependencies import LoginServiceDep
from auth_service.login.problems import LOGIN_PROBLEMS, InvalidCredentials
from auth_service.login.schemas import Login, PasswordGrant
from auth_service.sessions.schemas import NO_STORE, TOKENS_RESPONSE, Tokens
from service_kit.problems import problem_responses
from service_kit.rate_limit import ReportRateLimitDep

router = APIRouter(prefix="/v1", tags=["sessions"])

_RESPONSES = {
    200: TOKENS_RESPONSE,
    **problem_responses(*LOGIN_PROBLEMS),
}


@router.post("/login", summary="Log in by username or email", responses=_RESPONSES)
async def log_in(
    response: Response, credentials: Login, logins: LoginServiceDep, client: ClientInfoDep, report: ReportRateLimitDep
) -> Tokens:
    response.headers.update(NO_STORE)
    return await logins.log_in(credentials, client, report)


@router.post("/token", summary="Log in with OAuth2's password form", responses=_RESPONSES)
async def token(
    response: Response,
    form: Annotated[PasswordGrant, Form()],
    logins: LoginServiceDep,
    client: ClientInfoDep,
    report: ReportRateLimitDep,
) -> Tokens:
    """For Swagger's Authorize button and OAuth2 clients."""
    try:
        credentials = Login(login=form.username, password=form.password)
    except ValidationError:  # no account has such a name or password
        raise InvalidCredentials from None
    response.headers.update(NO_STORE)
    return await logins.log_in(credentials, client, report)
