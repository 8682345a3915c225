"""HTTP of administration."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from auth_service.accounts.models import Role
from auth_service.accounts.problems import LastAdmin, UserNotFound
from auth_service.accounts.schemas import UserProfile
from auth_service.administration.schemas import UserChange
from auth_service.authorization import UsersReader, UsersWriter
from auth_service.dependencies import AdministrationServiceDep
from auth_service.origin import OriginDep
from auth_service.pages import EndOfPageBefore, PageSize
from service_kit.pagination import InvalidCursor, encode_cursor, page_response, set_link_header
from service_kit.problems import Forbidden, ServiceUnavailable, Unauthorized, ValidationFailed, problem_responses
from service_kit.schemas import Page, UuidStr, is_uuid
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1/users", tags=["administration"])


async def _user_id(user_id: Annotated[UuidStr, Path()]) -> str:
    if not is_uuid(user_id):
        raise UserNotFound
    return user_id


UserId = Annotated[str, Depends(_user_id)]

_PROBLEMS = (Unauthorized, InvalidToken, Forbidden, ValidationFailed, ServiceUnavailable)


@router.get(
    "",
    summary="List users, the newest first",
    description="For senior managers and admins. `query` is how a username, a name or an email address begins.",
    responses={200: page_response("list_users"), **problem_responses(*_PROBLEMS, InvalidCursor)},
)
async def list_users(
    *,
    _by: UsersReader,
    request: Request,
    response: Response,
    administration: AdministrationServiceDep,
    query: Annotated[str | None, Query(min_length=1, max_length=254)] = None,
    role: Role | None = None,
    active: bool | None = None,
    before_id: EndOfPageBefore,
    limit: PageSize = 50,
) -> Page[UserProfile]:
    found = await administration.list_users(
        query=query, role=role, is_active=active, before_id=before_id, limit=limit + 1
    )
    items = [UserProfile.model_validate(user) for user in found[:limit]]
    following = encode_cursor(items[-1].id) if len(found) > limit else None
    set_link_header(request, response, following)
    return Page(items=items, next_cursor=following)


@router.get(
    "/{user_id}",
    summary="Read a user",
    description="For senior managers and admins.",
    responses=problem_responses(*_PROBLEMS, UserNotFound),
)
async def read_user(_by: UsersReader, user_id: UserId, administration: AdministrationServiceDep) -> UserProfile:
    return UserProfile.model_validate(await administration.get(user_id))


@router.patch(
    "/{user_id}",
    summary="Change a user's name or role, deactivate or reactivate an account",
    description="For admins. Another role and a deactivation revoke the access tokens issued so far.",
    responses=problem_responses(*_PROBLEMS, UserNotFound, LastAdmin),
)
async def change_user(
    by: UsersWriter,
    user_id: UserId,
    change: UserChange,
    administration: AdministrationServiceDep,
    origin: OriginDep,
) -> UserProfile:
    return UserProfile.model_validate(await administration.change(user_id, change, by, origin))


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete an account for good",
    description="For admins.",
    responses=problem_responses(*_PROBLEMS, UserNotFound, LastAdmin),
)
async def delete_user(
    by: UsersWriter, user_id: UserId, administration: AdministrationServiceDep, origin: OriginDep
) -> None:
    await administration.delete(user_id, by, origin)
