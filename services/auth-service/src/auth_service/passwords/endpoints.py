"""HTTP of passwords."""

from fastapi import APIRouter, Response

from auth_service.authorization import CurrentCaller
from auth_service.dependencies import PasswordServiceDep
from auth_service.origin import OriginDep
from auth_service.passwords.problems import InvalidResetToken, PasswordTooWeak, WrongCurrentPassword
from auth_service.passwords.schemas import PasswordChange, PasswordForgotten, PasswordReset
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["passwords"])


@router.post(
    "/users/me/password",
    status_code=204,
    summary="Change your own password",
    description="Ends your other sessions and every access token issued so far: refresh yours.",
    responses=problem_responses(
        Unauthorized,
        InvalidToken,
        WrongCurrentPassword,
        PasswordTooWeak,
        ValidationFailed,
        TooManyRequests,
        ServiceUnavailable,
    ),
)
async def change_password(
    body: PasswordChange, caller: CurrentCaller, passwords: PasswordServiceDep, origin: OriginDep
) -> None:
    await passwords.change(caller.user, caller.session_id, body, origin)


@router.post(
    "/password/forgot",
    status_code=202,
    summary="Have a token mailed that sets a new password",
    description="The answer is the same whether there is such an account or not.",
    response_class=Response,
    responses=problem_responses(ValidationFailed, TooManyRequests, ServiceUnavailable),
)
async def forgot_password(
    body: PasswordForgotten, passwords: PasswordServiceDep, origin: OriginDep, tell: ReportRateLimitDep
) -> None:
    tell(await passwords.take_mail(body.email, origin))
    passwords.forget(body.email, origin)


@router.post(
    "/password/reset",
    status_code=204,
    summary="Set a new password with a mailed token",
    description="The token works once and for ten minutes. Ends every session, and begins none.",
    responses=problem_responses(InvalidResetToken, PasswordTooWeak, ValidationFailed, ServiceUnavailable),
)
async def reset_password(body: PasswordReset, passwords: PasswordServiceDep, origin: OriginDep) -> None:
    await passwords.reset(body, origin)
