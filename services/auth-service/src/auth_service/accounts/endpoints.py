"""HTTP of accounts."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from auth_service.accounts.problems import EmailTaken, LastAdmin, PasswordsDoNotMatch, UsernameReserved, UsernameTaken
from auth_service.accounts.schemas import Export, ProfileChange, Registration, RegistrationAccepted, UserProfile
from auth_service.authorization import CurrentUser, OptionalCaller
from auth_service.dependencies import AccountServiceDep
from auth_service.origin import OriginDep
from auth_service.passwords.problems import PasswordTooWeak
from auth_service.sessions.schemas import TOKENS_ANSWER, Registered
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.problems import (
    Forbidden,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.rate_limit import ReportRateLimitDep
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["accounts"])

_USER_ID = {"path.user_id": "$response.body#/user/id"}
_REGISTERED_ANSWER = {
    **TOKENS_ANSWER,
    "links": {
        **TOKENS_ANSWER["links"],
        "log_in": {
            "operationId": "log_in",
            "requestBody": {"login": "$request.body#/username", "password": "$request.body#/password"},
        },
        "read": {"operationId": "read_user", "parameters": _USER_ID},
        "change": {"operationId": "change_user", "parameters": _USER_ID},
        "delete": {"operationId": "delete_user", "parameters": _USER_ID},
    },
}


@router.post(
    "/register",
    status_code=201,
    response_model=Registered,
    summary="Open an account",
    description="The answer carries tokens: who registers is logged in. An admin's bearer token allows any `role`.",
    responses={
        201: _REGISTERED_ANSWER,
        202: {
            "model": RegistrationAccepted,
            "description": "With `AUTH_REQUIRE_EMAIL_VERIFICATION`: a mail is on its way to the address.",
        },
        **problem_responses(
            InvalidToken,
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
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def register(
    *,
    response: Response,
    registration: Registration,
    by: OptionalCaller,
    accounts: AccountServiceDep,
    origin: OriginDep,
    tell: ReportRateLimitDep,
) -> Registered | JSONResponse:
    tell(await accounts.take_registration(origin))
    registered = await accounts.register(registration, by.user if by else None, origin)
    if registered is None:
        return JSONResponse(RegistrationAccepted().model_dump(), 202, dict(response.headers))
    user, tokens = registered
    response.headers["Cache-Control"] = "no-store"
    return Registered(user=UserProfile.model_validate(user), **tokens.model_dump())


@router.get(
    "/users/me",
    summary="Your own profile",
    responses=problem_responses(Unauthorized, InvalidToken, ServiceUnavailable),
)
async def read_own_profile(user: CurrentUser) -> UserProfile:
    return UserProfile.model_validate(user)


@router.patch(
    "/users/me",
    summary="Change your own profile",
    description="A new email address shows as `pending_email` until the mail that is sent to it is answered.",
    responses=problem_responses(
        Unauthorized, InvalidToken, UsernameTaken, EmailTaken, ValidationFailed, UsernameReserved, ServiceUnavailable
    ),
)
async def change_own_profile(
    change: ProfileChange, user: CurrentUser, accounts: AccountServiceDep, origin: OriginDep
) -> UserProfile:
    return UserProfile.model_validate(await accounts.change(user.id, change, origin))


@router.delete(
    "/users/me",
    status_code=204,
    summary="Delete your own account for good",
    description="From both stores: its copy goes with the change event, and its tweets show no author.",
    responses=problem_responses(Unauthorized, InvalidToken, LastAdmin, ServiceUnavailable),
)
async def delete_own_account(user: CurrentUser, accounts: AccountServiceDep, origin: OriginDep) -> None:
    await accounts.delete(user.id, origin)


@router.get(
    "/users/me/export",
    summary="Everything that is held about you here",
    description="Your tweets are tweet-service's: `GET /v1/tweets?author=…` there.",
    responses={
        200: {"headers": {"Content-Disposition": {"required": True, "schema": {"type": "string"}}}},
        **problem_responses(Unauthorized, InvalidToken, ServiceUnavailable),
    },
)
async def export_own_data(
    response: Response, user: CurrentUser, accounts: AccountServiceDep, origin: OriginDep
) -> Export:
    response.headers["Content-Disposition"] = 'attachment; filename="tandem-account.json"'
    return await accounts.export(user.id, origin)
