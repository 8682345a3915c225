"""HTTP endpoints of administration: accounts and the audit trail."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from auth_service.administration.schemas import UserChange
from auth_service.administration.service import AdministrationService, UserFilter
from auth_service.audit.models import Event
from auth_service.audit.repository import AuditRepository
from auth_service.audit.schemas import AuditEntry
from auth_service.authorization import SCOPE_PROBLEMS, CallerMayReadAudit, CallerMayReadUsers, CallerMayWriteUsers
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import DatabaseDep, service
from auth_service.pagination import BeforeId, PageSize
from auth_service.passwords.problems import ReauthenticationRequired
from auth_service.passwords.schemas import AccountDeletion
from auth_service.users.problems import LastAdmin, UserNotFound
from auth_service.users.schemas import UserProfile
from service_kit.pagination import InvalidCursor, encode_cursor, page_response, set_link_header, split_page
from service_kit.problems import TooManyRequests, ValidationFailed, problem_responses
from service_kit.roles import Role
from service_kit.schemas import DatetimeParam, Page, UuidParam, UuidStr, is_uuid

router = APIRouter(prefix="/v1", tags=["administration"])

AdministrationServiceDep = Annotated[AdministrationService, service("administration")]


async def _user_id(user_id: Annotated[UuidStr, Path()]) -> str:
    if not is_uuid(user_id):
        raise UserNotFound
    return user_id


UserId = Annotated[str, Depends(_user_id)]

_PROBLEMS = (*SCOPE_PROBLEMS, ValidationFailed)


@router.get(
    "/users",
    summary="List users, newest first",
    description="`query` is a prefix of a username, a name or an email address.",
    responses={200: page_response("list_users"), **problem_responses(*_PROBLEMS, InvalidCursor)},
)
async def list_users(
    *,
    caller: CallerMayReadUsers,
    request: Request,
    response: Response,
    administration: AdministrationServiceDep,
    client: ClientInfoDep,
    query: Annotated[str | None, Query(min_length=1, max_length=254)] = None,
    role: Role | None = None,
    active: bool | None = None,
    before_id: BeforeId,
    limit: PageSize = 50,
) -> Page[UserProfile]:
    wanted = UserFilter(query=query, role=role, is_active=active)
    found = await administration.list_users(wanted, caller.user, client, before_id=before_id, limit=limit + 1)
    users, has_next = split_page(found, limit)
    next_cursor = encode_cursor(users[-1].id) if has_next else None
    set_link_header(request, response, next_cursor)
    return Page(items=[UserProfile.model_validate(user) for user in users], next_cursor=next_cursor)


@router.get(
    "/users/{user_id}",
    summary="Read a user",
    responses=problem_responses(*_PROBLEMS, UserNotFound),
)
async def read_user(
    caller: CallerMayReadUsers, user_id: UserId, administration: AdministrationServiceDep, client: ClientInfoDep
) -> UserProfile:
    return UserProfile.model_validate(await administration.read(user_id, caller.user, client))


@router.patch(
    "/users/{user_id}",
    summary="Change a user's name or role, or deactivate or reactivate an account",
    description=(
        "Another role, a deactivation and a reactivation need your `current_password`. A new role and a deactivation "
        "revoke all access tokens of the user. A deactivation also ends a change of the address that is not confirmed "
        "yet, and all mailed links except those that undo a change."
    ),
    responses=problem_responses(*_PROBLEMS, ReauthenticationRequired, UserNotFound, LastAdmin, TooManyRequests),
)
async def change_user(
    caller: CallerMayWriteUsers,
    user_id: UserId,
    change: UserChange,
    administration: AdministrationServiceDep,
    client: ClientInfoDep,
) -> UserProfile:
    return UserProfile.model_validate(await administration.change(user_id, change, caller.user, client))


@router.delete(
    "/users/{user_id}",
    status_code=204,
    summary="Delete an account permanently",
    description="Needs your `current_password` in the body.",
    responses=problem_responses(*_PROBLEMS, ReauthenticationRequired, UserNotFound, LastAdmin, TooManyRequests),
)
async def delete_user(
    *,
    caller: CallerMayWriteUsers,
    user_id: UserId,
    administration: AdministrationServiceDep,
    client: ClientInfoDep,
    deletion: AccountDeletion | None = None,
) -> None:
    await administration.delete(user_id, deletion.current_password if deletion else None, caller.user, client)


@router.get(
    "/audit",
    summary="Read the audit trail, newest first",
    responses={200: page_response("read_audit_trail"), **problem_responses(*_PROBLEMS, InvalidCursor)},
)
async def read_audit_trail(
    *,
    caller: CallerMayReadAudit,
    request: Request,
    response: Response,
    database: DatabaseDep,
    event: Event | None = None,
    user: UuidParam | None = None,
    actor: UuidParam | None = None,
    since: DatetimeParam | None = None,
    until: DatetimeParam | None = None,
    before_id: BeforeId,
    limit: PageSize = 50,
) -> Page[AuditEntry]:
    async with database.reading(caller.user.id) as session:
        found = await AuditRepository(session).list_newest(
            event=event,
            user_id=user,
            actor_id=actor,
            since=since,
            until=until,
            before_id=before_id,
            limit=limit + 1,
        )
    events, has_next = split_page(found, limit)
    next_cursor = encode_cursor(events[-1].id) if has_next else None
    set_link_header(request, response, next_cursor)
    return Page(items=[AuditEntry.model_validate(each) for each in events], next_cursor=next_cursor)
