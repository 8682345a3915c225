"""HTTP of sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import ValidationError

from auth_service.dependencies import SessionServiceDep
from auth_service.sessions.problems import InvalidCredentials, InvalidRefreshToken, RefreshTokenReused
from auth_service.sessions.schemas import Login, Refresh, Tokens
from service_kit.problems import (
    ServiceUnavailable,
    ValidationFailed,
    problem_response,
    problem_responses,
)

router = APIRouter(prefix="/v1", tags=["sessions"])

_LOGIN_PROBLEMS = problem_responses(InvalidCredentials, ValidationFailed, ServiceUnavailable)


@router.post("/login", summary="Log in by username or email", responses=_LOGIN_PROBLEMS)
async def log_in(credentials: Login, sessions: SessionServiceDep) -> Tokens:
    return await sessions.log_in(credentials)


@router.post("/token", summary="Log in with OAuth2's password form", responses=_LOGIN_PROBLEMS)
async def token(form: Annotated[OAuth2PasswordRequestForm, Depends()], sessions: SessionServiceDep) -> Tokens:
    """What Swagger's Authorize button and OAuth2 clients use. Scopes follow from the role, not from the form."""
    try:
        credentials = Login(login=form.username, password=form.password)
    except ValidationError:  # too long or empty for anybody's
        raise InvalidCredentials from None
    return await sessions.log_in(credentials)


@router.post(
    "/refresh",
    response_model=Tokens,
    summary="Exchange a refresh token for new tokens",
    description="Each refresh token works once. Using a spent one ends its session: one of the two was stolen.",
    responses=problem_responses(InvalidRefreshToken, RefreshTokenReused, ValidationFailed, ServiceUnavailable),
)
async def refresh(request: Request, body: Refresh, sessions: SessionServiceDep) -> Tokens | Response:
    outcome = await sessions.refresh(body.refresh_token)
    if isinstance(outcome, RefreshTokenReused):
        # Answered rather than raised: an exception would roll the revocation back.
        return problem_response(request, outcome)
    return outcome


@router.post(
    "/logout",
    status_code=204,
    summary="End the session of a refresh token",
    responses=problem_responses(ValidationFailed, ServiceUnavailable),
)
async def log_out(body: Refresh, sessions: SessionServiceDep) -> None:
    await sessions.log_out(body.refresh_token)
