"""HTTP endpoints of a user's own account."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from auth_service.authorization import SCOPE_PROBLEMS, CallerMayWriteProfile
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import service
from auth_service.passwords.problems import ReauthenticationRequired
from auth_service.passwords.schemas import AccountDeletion
from auth_service.profile.schemas import Export, ProfileChange
from auth_service.profile.service import ProfileService
from auth_service.sessions.authentication import CurrentCaller
from auth_service.users.problems import LastAdmin, UsernameReserved, UsernameTaken
from auth_service.users.schemas import UserProfile
from service_kit.problems import (
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1/users/me", tags=["accounts"])

ProfileServiceDep = Annotated[ProfileService, service("profiles")]


@router.get(
    "",
    summary="Read your profile",
    responses=problem_responses(Unauthorized, InvalidToken, ServiceUnavailable),
)
async def read_own_profile(caller: CurrentCaller) -> UserProfile:
    return UserProfile.model_validate(caller.user)


@router.patch(
    "",
    summary="Change your profile",
    description=(
        "A new email address needs `current_password`, and so does the present one if it ends a change that is not "
        "confirmed yet. A new one is `pending_email` until it is confirmed with the mailed "
        "link. The response is the same whether or not another account has the address. The old address gets a link "
        "that undoes the change for 72 hours. A former username is held for you, by default for 30 days; an account "
        "can hold ten."
    ),
    responses=problem_responses(
        *SCOPE_PROBLEMS,
        ReauthenticationRequired,
        UsernameTaken,
        ValidationFailed,
        UsernameReserved,
        TooManyRequests,
    ),
)
async def change_own_profile(
    change: ProfileChange,
    caller: CallerMayWriteProfile,
    profiles: ProfileServiceDep,
    client: ClientInfoDep,
    report: ReportRateLimitDep,
) -> UserProfile:
    return UserProfile.model_validate(await profiles.change(caller.user, change, client, report))


@router.delete(
    "",
    status_code=204,
    summary="Delete your account permanently",
    description=(
        "Needs `current_password` in the body. The sync deletes the copy in MongoDB, too. Your tweets stay, without an "
        "author."
    ),
    responses=problem_responses(
        *SCOPE_PROBLEMS, ReauthenticationRequired, LastAdmin, ValidationFailed, TooManyRequests
    ),
)
async def delete_own_account(
    caller: CallerMayWriteProfile,
    profiles: ProfileServiceDep,
    client: ClientInfoDep,
    deletion: AccountDeletion | None = None,
) -> None:
    await profiles.delete(caller.user, deletion.current_password if deletion else None, client)


@router.get(
    "/export",
    response_model=Export,
    summary="Export all data about you",
    description="Tweets are not included: read them from tweet-service with `GET /v1/tweets?author=…`.",
    responses={
        200: {"headers": {"Content-Disposition": {"required": True, "schema": {"type": "string"}}}},
        **problem_responses(Unauthorized, InvalidToken, TooManyRequests, ServiceUnavailable),
    },
)
async def export_own_data(
    caller: CurrentCaller, profiles: ProfileServiceDep, client: ClientInfoDep
) -> StreamingResponse:
    chunks, limit = await profiles.export(caller.user.id, client)
    headers = {"Content-Disposition": 'attachment; filename="tandem-account.json"', **limit.headers()}
    return StreamingResponse(chunks, media_type="application/json", headers=headers)
