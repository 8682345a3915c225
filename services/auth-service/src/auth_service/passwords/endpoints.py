"""HTTP endpoints of passwords."""

from typing import Annotated

from fastapi import APIRouter, Response

from auth_service.authorization import SCOPE_PROBLEMS, CallerMayWriteProfile
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import service
from auth_service.passwords.problems import (
    InvalidResetToken,
    PasswordTooWeak,
    ReauthenticationRequired,
    WrongCurrentPassword,
)
from auth_service.passwords.schemas import PasswordChange, PasswordForgotten, PasswordReset
from auth_service.passwords.service import PasswordService
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep

router = APIRouter(prefix="/v1", tags=["passwords"])

PasswordServiceDep = Annotated[PasswordService, service("passwords")]


@router.post(
    "/users/me/password",
    status_code=204,
    summary="Change your password",
    description=(
        "Ends your other sessions and all mailed links, except those that undo a change of the address, and revokes "
        "all access tokens. Refresh yours afterwards."
    ),
    responses=problem_responses(
        *SCOPE_PROBLEMS,
        WrongCurrentPassword,
        ReauthenticationRequired,
        PasswordTooWeak,
        ValidationFailed,
        TooManyRequests,
    ),
)
async def change_password(
    body: PasswordChange, caller: CallerMayWriteProfile, passwords: PasswordServiceDep, client: ClientInfoDep
) -> None:
    await passwords.change(caller.user, caller.session_id, body, client)


@router.post(
    "/password/forgot",
    status_code=202,
    summary="Request a mail to reset a forgotten password",
    description="The response is the same whether or not an account has this address.",
    response_class=Response,
    responses=problem_responses(ValidationFailed, TooManyRequests, ServiceUnavailable),
)
async def forgot_password(
    body: PasswordForgotten, passwords: PasswordServiceDep, client: ClientInfoDep, report: ReportRateLimitDep
) -> None:
    report(await passwords.forget(body.email, client))


@router.post(
    "/password/reset",
    status_code=204,
    summary="Reset a password with a mailed token",
    description="The token works once, within ten minutes. Ends all sessions and begins none.",
    responses=problem_responses(InvalidResetToken, PasswordTooWeak, ValidationFailed, ServiceUnavailable),
)
async def reset_password(body: PasswordReset, passwords: PasswordServiceDep, client: ClientInfoDep) -> None:
    await passwords.reset(body, client)
