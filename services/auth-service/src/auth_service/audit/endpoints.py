"""HTTP of the audit trail."""

from fastapi import APIRouter, Request, Response

from auth_service.audit.models import Event
from auth_service.audit.repository import AuditRepository
from auth_service.audit.schemas import AuditEntry
from auth_service.authorization import AuditReader
from auth_service.dependencies import DatabaseDep
from auth_service.pages import EndOfPageBefore, PageSize
from service_kit.pagination import InvalidCursor, encode_cursor, page_response, set_link_header
from service_kit.problems import Forbidden, ServiceUnavailable, Unauthorized, ValidationFailed, problem_responses
from service_kit.schemas import DatetimeParam, Page, UuidParam
from service_kit.tokens import InvalidToken

router = APIRouter(prefix="/v1", tags=["administration"])


@router.get(
    "/audit",
    summary="Read the audit trail, newest first",
    description="For admins.",
    responses={
        200: page_response("read_audit_trail"),
        **problem_responses(Unauthorized, InvalidToken, Forbidden, ValidationFailed, InvalidCursor, ServiceUnavailable),
    },
)
async def read_audit_trail(
    *,
    _by: AuditReader,
    request: Request,
    response: Response,
    database: DatabaseDep,
    event: Event | None = None,
    user: UuidParam | None = None,
    actor: UuidParam | None = None,
    since: DatetimeParam | None = None,
    until: DatetimeParam | None = None,
    before_id: EndOfPageBefore,
    limit: PageSize = 50,
) -> Page[AuditEntry]:
    async with database.reading() as session:
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
    set_link_header(request, response, following)
    return Page(items=items, next_cursor=following)
