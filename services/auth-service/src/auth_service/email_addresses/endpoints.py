"""HTTP endpoints of confirming and restoring an address."""

from typing import Annotated

from fastapi import APIRouter, Response

from auth_service.authorization import SCOPE_PROBLEMS, CallerMayWriteProfile
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import service
from auth_service.email_addresses.problems import InvalidEmailToken, InvalidUndoToken
from auth_service.email_addresses.schemas import EmailConfirmation, EmailUndo
from auth_service.email_addresses.service import EmailAddressService
from auth_service.users.problems import EmailTaken
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep

router = APIRouter(prefix="/v1/email", tags=["accounts"])

EmailAddressServiceDep = Annotated[EmailAddressService, service("addresses")]


@router.post(
    "/verify",
    status_code=204,
    summary="Confirm an email address with a mailed token",
    responses=problem_responses(EmailTaken, InvalidEmailToken, ValidationFailed, ServiceUnavailable),
)
async def verify(body: EmailConfirmation, addresses: EmailAddressServiceDep, client: ClientInfoDep) -> None:
    await addresses.confirm(body.token, client)


@router.post(
    "/resend",
    status_code=202,
    summary="Send the confirmation mail again",
    response_class=Response,
    responses=problem_responses(*SCOPE_PROBLEMS, TooManyRequests),
)
async def resend(
    caller: CallerMayWriteProfile, addresses: EmailAddressServiceDep, client: ClientInfoDep, report: ReportRateLimitDep
) -> None:
    report(await addresses.resend(caller.user, client))


@router.post(
    "/undo",
    status_code=204,
    summary="Undo a change of your email address with a mailed token",
    description=(
        "The old address gets the token with each change. It works once, within 72 hours, also after another change "
        "and after a change of the password. It restores the old address and ends all sessions. Then reset the "
        "password by mail: until that, the present one is not accepted for sensitive actions."
    ),
    responses=problem_responses(EmailTaken, InvalidUndoToken, ValidationFailed, ServiceUnavailable),
)
async def undo(body: EmailUndo, addresses: EmailAddressServiceDep, client: ClientInfoDep) -> None:
    await addresses.undo(body.token, client)
