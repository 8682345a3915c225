"""`/v1/dead-letters` over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service_kit.authorization import SCOPE_PROBLEMS
from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor, page_response, set_link_header
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import Page
from sync_service.dead_letters.models import DeadLetter, DeadLetterId
from sync_service.dead_letters.problems import DeadLetterAlreadyResolved, DeadLetterNotFound
from sync_service.dead_letters.schemas import (
    ID_PATTERN,
    MOST_AT_ONCE,
    DeadLetterDetail,
    DeadLetterIdText,
    DeadLetterSelection,
    DeadLetterSummary,
    ResolvedDeadLetter,
    ResolvedDeadLetters,
)
from sync_service.dead_letters.service import DeadLetterService
from sync_service.dependencies import ReadsPersonal, SyncReader, SyncWriter
from sync_service.routes.personal import PersonalFields
from sync_service.routes.problems import UnknownRoute

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

MAX_PAGE = 100


async def _service(request: Request) -> DeadLetterService:
    service: DeadLetterService = request.app.state.dead_letters
    return service


async def _letter_id(letter_id: Annotated[DeadLetterIdText, Path(pattern=ID_PATTERN)]) -> DeadLetterId:
    parsed = DeadLetterId.of(letter_id)
    if parsed is None:
        raise DeadLetterNotFound
    return parsed


def _decoded_cursor(cursor: str | None) -> DeadLetterId | None:
    return None if cursor is None else DeadLetterId(*decode_cursor(cursor, int, int))


async def _position(
    cursor: Annotated[str | None, Query(description="`next_cursor` of the previous page.", max_length=200)] = None,
) -> DeadLetterId | None:
    return _decoded_cursor(cursor)


ServiceDep = Annotated[DeadLetterService, Depends(_service)]
LetterIdDep = Annotated[DeadLetterId, Depends(_letter_id)]
# The end of the previous page; None for the first page. Raises `InvalidCursor`.
PositionDep = Annotated[DeadLetterId | None, Depends(_position)]
RouteName = Annotated[
    str | None, Query(max_length=100, description="Only dead letters of this route.", examples=["tweets"])
]

_OF_ONE = (*SCOPE_PROBLEMS, DeadLetterNotFound)


@router.get(
    "",
    summary="List open dead letters, the oldest first",
    responses={
        200: page_response("list_dead_letters"),
        **problem_responses(*SCOPE_PROBLEMS, ValidationFailed, InvalidCursor, UnknownRoute),
    },
)
async def list_dead_letters(
    *,
    _caller: SyncReader,
    reads_personal: ReadsPersonal,
    service: ServiceDep,
    request: Request,
    response: Response,
    after: PositionDep,
    route: RouteName = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> Page[DeadLetterSummary]:
    """Events that could not be applied, and that are neither retried with success nor discarded.

    The topic keeps dead letters for 30 days.
    """
    found = await service.open(route, after=after, limit=limit + 1)
    items = [
        DeadLetterSummary.of(each, service.route_of(each.origin.topic), _hidden(service, each, reads_personal))
        async for each in service.read(found[:limit])
    ]
    cursor = encode_cursor(*found[limit - 1]) if len(found) > limit else None
    set_link_header(request, response, cursor)
    return Page(items=items, next_cursor=cursor)


@router.post(
    "",
    summary="Retry or discard several dead letters",
    responses=problem_responses(*SCOPE_PROBLEMS, ValidationFailed, InvalidCursor, UnknownRoute),
)
async def resolve_dead_letters(
    *, caller: SyncWriter, service: ServiceDep, many: DeadLetterSelection
) -> ResolvedDeadLetters:
    """The oldest first. For a route, repeat the request with `next_cursor` until it is null.

    Each is retried or discarded as if alone. After 503, the ones before the failure are done, and the others are open.
    """
    cursor = None
    if many.ids is not None:
        ids = [parsed for each in many.ids if (parsed := DeadLetterId.of(each)) is not None]
    else:
        found = await service.open(many.route, after=_decoded_cursor(many.cursor), limit=MOST_AT_ONCE + 1)
        ids = list(found[:MOST_AT_ONCE])
        cursor = encode_cursor(*ids[-1]) if len(found) > MOST_AT_ONCE else None
    resolved = service.resolve_all(many.action, ids, by=caller.username)
    return ResolvedDeadLetters(items=[ResolvedDeadLetter.of(each) async for each in resolved], next_cursor=cursor)


@router.get(
    "/{letter_id}",
    summary="Read a dead letter with key, value and headers",
    responses=problem_responses(*_OF_ONE, ValidationFailed),
)
async def read_dead_letter(
    *, _caller: SyncReader, reads_personal: ReadsPersonal, service: ServiceDep, letter_id: LetterIdDep
) -> DeadLetterDetail:
    """Resolved ones, too, with their resolution.

    Values of fields that the route marks as personal are `[personal]`, unless the caller may read users. So is the
    whole value if it can't be read as an event, or if no route reads its topic.
    """
    letter, resolution = await service.get(letter_id)
    route, hidden = service.route_of(letter.origin.topic), _hidden(service, letter, reads_personal)
    return DeadLetterDetail.with_resolution(letter, route, resolution, hidden)


def _hidden(service: DeadLetterService, letter: DeadLetter, reads_personal: bool) -> PersonalFields | None:
    """The fields that the caller may not read."""
    return None if reads_personal else service.personal_fields_of(letter.origin.topic)


@router.post(
    "/{letter_id}/retry",
    summary="Retry a dead letter with the current route",
    responses=problem_responses(*_OF_ONE, DeadLetterAlreadyResolved, ValidationFailed),
)
async def retry_dead_letter(*, caller: SyncWriter, service: ServiceDep, letter_id: LetterIdDep) -> ResolvedDeadLetter:
    """The outcome is `applied`, `skipped` because the row is newer, or `rejected`. A rejected one stays open.

    503: the database does not answer, and the dead letter stays open.
    """
    return ResolvedDeadLetter.of(await service.resolve("retry", letter_id, by=caller.username))


@router.post(
    "/{letter_id}/discard",
    summary="Discard a dead letter",
    responses=problem_responses(*_OF_ONE, DeadLetterAlreadyResolved, ValidationFailed),
)
async def discard_dead_letter(*, caller: SyncWriter, service: ServiceDep, letter_id: LetterIdDep) -> ResolvedDeadLetter:
    return ResolvedDeadLetter.of(await service.resolve("discard", letter_id, by=caller.username))
