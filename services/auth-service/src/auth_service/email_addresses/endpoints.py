"""HTTP of confirming an address."""

from fastapi import APIRouter, Response

from auth_service.accounts.problems import EmailTaken
from auth_service.authorization import CurrentUser
from auth_service.dependencies import EmailAddressServiceDep
from auth_service.email_addresses.problems import InvalidEmailToken
from auth_service.email_addresses.schemas import EmailConfirmation
from auth_service.origin import OriginDep
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1/email", tags=["accounts"])


@router.post(
    "/verify",
    status_code=204,
    summary="Confirm an email address with a mailed token",
    responses=problem_responses(EmailTaken, InvalidEmailToken, ValidationFailed, ServiceUnavailable),
)
async def verify(body: EmailConfirmation, addresses: EmailAddressServiceDep, origin: OriginDep) -> None:
    await addresses.confirm(body.token, origin)


@router.post(
    "/resend",
    status_code=202,
    summary="Mail another token for an address that is still to be confirmed",
    response_class=Response,
    responses=problem_responses(Unauthorized, InvalidToken, EmailTaken, TooManyRequests, ServiceUnavailable),
)
async def resend(
    user: CurrentUser, addresses: EmailAddressServiceDep, origin: OriginDep, tell: ReportRateLimitDep
) -> None:
    tell(await addresses.resend(user.id, origin))
