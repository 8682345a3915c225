"""`/v1/dead-letters` over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor, page_response, set_link_header
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import Page
from sync_service.dead_letters.models import LetterId
from sync_service.dead_letters.problems import LetterNotFound, LetterResolved
from sync_service.dead_letters.schemas import (
    ID_PATTERN,
    MOST_AT_ONCE,
    DeadLetter,
    DeadLetterDetail,
    LetterIdText,
    ManyLetters,
    SettledLetter,
    SettledLetters,
)
from sync_service.dead_letters.service import DeadLetterService
from sync_service.dependencies import WORKER_PROBLEMS, CurrentWorker
from sync_service.routes.problems import UnknownRoute

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

MAX_PAGE = 100


async def _service(request: Request) -> DeadLetterService:
    service: DeadLetterService = request.app.state.dead_letters
    return service


async def _letter_id(letter_id: Annotated[LetterIdText, Path(pattern=ID_PATTERN)]) -> LetterId:
    parsed = LetterId.of(letter_id)
    if parsed is None:
        raise LetterNotFound
    return parsed


def _behind(cursor: str | None) -> LetterId | None:
    return None if cursor is None else LetterId(*decode_cursor(cursor, int, int))


async def _position(
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=200)] = None,
) -> LetterId | None:
    return _behind(cursor)


ServiceDep = Annotated[DeadLetterService, Depends(_service)]
LetterIdDep = Annotated[LetterId, Depends(_letter_id)]
# Where the page before ended; None for the first page. Raises `InvalidCursor`.
PositionDep = Annotated[LetterId | None, Depends(_position)]
RouteName = Annotated[str | None, Query(max_length=100, description="Only those of this route.", examples=["tweets"])]

_OF_ONE = (*WORKER_PROBLEMS, LetterNotFound)


@router.get(
    "",
    summary="Events that could not be applied, the oldest first",
    responses={
        200: page_response("list_dead_letters"),
        **problem_responses(*WORKER_PROBLEMS, ValidationFailed, InvalidCursor, UnknownRoute),
    },
)
async def list_dead_letters(
    *,
    _worker: CurrentWorker,
    service: ServiceDep,
    request: Request,
    response: Response,
    behind: PositionDep,
    route: RouteName = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> Page[DeadLetter]:
    """Those that nobody has retried successfully or discarded yet. The topic keeps letters for 30 days."""
    found = await service.open(route, behind=behind, limit=limit + 1)
    items = [DeadLetter.of(each, service.route_of(each.origin.topic)) async for each in service.read(found[:limit])]
    cursor = encode_cursor(*found[limit - 1]) if len(found) > limit else None
    set_link_header(request, response, cursor)
    return Page(items=items, next_cursor=cursor)


@router.post(
    "",
    summary="Retry or discard many",
    responses=problem_responses(*WORKER_PROBLEMS, ValidationFailed, InvalidCursor, UnknownRoute),
)
async def settle_dead_letters(*, worker: CurrentWorker, service: ServiceDep, many: ManyLetters) -> SettledLetters:
    """The oldest first; of a route so many at a time as one request may do, so go on until `next_cursor` is null.

    Each is as if it were retried or discarded alone. With 503 those that the database did not take are open still, and
    what was done before them is done.
    """
    cursor = None
    if many.ids is not None:
        ids = [parsed for each in many.ids if (parsed := LetterId.of(each)) is not None]
    else:
        found = await service.open(many.route, behind=_behind(many.cursor), limit=MOST_AT_ONCE + 1)
        ids = list(found[:MOST_AT_ONCE])
        cursor = encode_cursor(*ids[-1]) if len(found) > MOST_AT_ONCE else None
    settled = service.settle_all(many.action, ids, by=worker.username)
    return SettledLetters(items=[SettledLetter.of(each) async for each in settled], next_cursor=cursor)


@router.get("/{letter_id}", summary="One, with all that came", responses=problem_responses(*_OF_ONE, ValidationFailed))
async def read_dead_letter(*, _worker: CurrentWorker, service: ServiceDep, letter_id: LetterIdDep) -> DeadLetterDetail:
    """Those that are done with, too, with their resolution."""
    letter, resolution = await service.get(letter_id)
    return DeadLetterDetail.with_resolution(letter, service.route_of(letter.origin.topic), resolution)


@router.post(
    "/{letter_id}/retry",
    summary="Try it again by the route as it is now",
    responses=problem_responses(*_OF_ONE, LetterResolved, ValidationFailed),
)
async def retry_dead_letter(*, worker: CurrentWorker, service: ServiceDep, letter_id: LetterIdDep) -> SettledLetter:
    """`applied`; or `skipped`, because the row is newer; or `rejected` again, and then it stays open.

    503: the database did not answer, and the letter is open still.
    """
    return SettledLetter.of(await service.settle("retry", letter_id, by=worker.username))


@router.post(
    "/{letter_id}/discard",
    summary="Put it aside",
    responses=problem_responses(*_OF_ONE, LetterResolved, ValidationFailed),
)
async def discard_dead_letter(*, worker: CurrentWorker, service: ServiceDep, letter_id: LetterIdDep) -> SettledLetter:
    return SettledLetter.of(await service.settle("discard", letter_id, by=worker.username))
