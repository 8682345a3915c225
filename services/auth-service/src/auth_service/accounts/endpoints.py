"""HTTP of accounts."""

from fastapi import APIRouter

from auth_service.accounts.problems import EmailTaken, PasswordsDoNotMatch, UsernameTaken
from auth_service.accounts.schemas import ProfileChange, Registration, UserProfile
from auth_service.database import DatabaseSession
from auth_service.dependencies import AccountServiceDep, CurrentUser, OptionalUser, SessionServiceDep
from auth_service.sessions.schemas import Registered
from service_kit.problems import (
    Forbidden,
    ServiceUnavailable,
    Unauthorized,
    ValidationFailed,
    problem_responses,
)
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["accounts"])


@router.post(
    "/register",
    status_code=201,
    summary="Open an account",
    description="The answer carries tokens: who registers is logged in. An admin's bearer token allows any `role`.",
    responses=problem_responses(
        InvalidToken,
        Forbidden,
        UsernameTaken,
        EmailTaken,
        ValidationFailed,
        PasswordsDoNotMatch,
        ServiceUnavailable,
    ),
)
async def register(
    registration: Registration, by: OptionalUser, accounts: AccountServiceDep, sessions: SessionServiceDep
) -> Registered:
    user = await accounts.register(registration, by)
    tokens = sessions.start(user)
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
    responses=problem_responses(Unauthorized, InvalidToken, ValidationFailed, ServiceUnavailable),
)
async def change_own_profile(change: ProfileChange, user: CurrentUser, session: DatabaseSession) -> UserProfile:
    user.name = change.name
    await session.flush()
    return UserProfile.model_validate(user)
