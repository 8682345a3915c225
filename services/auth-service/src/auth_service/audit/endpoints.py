"""HTTP of the audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from auth_service.audit.models import Event
from auth_service.audit.repository import AuditRepository
from auth_service.audit.schemas import AuditEntry
from auth_service.authorization import AuditReader
from auth_service.dependencies import DatabaseDep
from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor, next_link
from service_kit.problems import Forbidden, ServiceUnavailable, Unauthorized, ValidationFailed, problem_responses
from service_kit.tokens import InvalidToken
from service_kit.wire import Page

router = APIRouter(prefix="/v1", tags=["administration"])

Id = Annotated[str | None, Query(max_length=36)]


@router.get(
    "/audit",
    summary="Read the audit trail, newest first",
    description="For admins.",
    responses=problem_responses(
        Unauthorized, InvalidToken, Forbidden, ValidationFailed, InvalidCursor, ServiceUnavailable
    ),
)
async def read_audit_trail(
    *,
    _by: AuditReader,
    request: Request,
    response: Response,
    database: DatabaseDep,
    event: Event | None = None,
    user: Id = None,
    actor: Id = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Page[AuditEntry]:
    before_id = None if cursor is None else decode_cursor(cursor, str)[0]
    async with database.transaction() as session:
        found = await AuditRepository(session).list_newest(
            event=event,
            user_id=user,
            actor_id=actor,
            since=since,
            until=until,
            before_id=before_id,
            limit=limit + 1,
        )
    items = [AuditEntry.model_validate(each) for each in found[:limit]]
    following = encode_cursor(items[-1].id) if len(found) > limit else None
    if following:
        response.headers["Link"] = next_link(str(request.url.include_query_params(cursor=following)))
    return Page(items=items, next_cursor=following)
