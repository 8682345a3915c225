"""Cursors of lists that are sorted by time and id."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from bson import ObjectId
from fastapi import Depends, Query, Request, Response

from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor, next_link, next_page
from service_kit.wire import Page
from tweet_service.headers import VARY

MAX_PAGE = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

ItemT = TypeVar("ItemT")
DocumentT = TypeVar("DocumentT")

Position = tuple[datetime, ObjectId]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def cursor_at(moment: datetime, last_id: str) -> str:
    """The place behind an item of this time and id. Times are to the millisecond, as MongoDB keeps them."""
    return encode_cursor((moment - _EPOCH) // _MILLISECOND, last_id)


def position_of(cursor: str) -> tuple[datetime, str]:
    """Raises `InvalidCursor`."""
    milliseconds, last_id = decode_cursor(cursor, int, str)
    try:
        return _EPOCH + milliseconds * _MILLISECOND, last_id
    except OverflowError as error:
        raise InvalidCursor from error


_Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=200)]


async def _position(cursor: _Cursor = None) -> tuple[datetime, str] | None:
    return None if cursor is None else position_of(cursor)


async def _tweet_position(cursor: _Cursor = None) -> Position | None:
    if cursor is None:
        return None
    moment, last_id = position_of(cursor)
    if not ObjectId.is_valid(last_id):
        raise InvalidCursor
    return moment, ObjectId(last_id)


# Where the page before ended; None for the first page. Raises `InvalidCursor`.
PositionDep = Annotated[tuple[datetime, str] | None, Depends(_position)]
# The same in a list of tweets.
TweetPositionDep = Annotated[Position | None, Depends(_tweet_position)]


@dataclass(frozen=True)
class Slice(Generic[ItemT]):
    """Part of a list, and the cursor of what follows, if anything does."""

    items: list[ItemT]
    next_cursor: str | None


def cut(found: Sequence[DocumentT], limit: int) -> tuple[list[DocumentT], bool]:
    """What fits on the page, and whether there is more. `found` is one more than asked for, if there is."""
    return list(found[:limit]), len(found) > limit


def page_of(part: Slice[ItemT], request: Request, response: Response) -> Page[ItemT]:
    """The answer, with its headers."""
    tell_of_next_page(part.next_cursor, request, response)
    return Page(items=part.items, next_cursor=part.next_cursor)


def tell_of_next_page(cursor: str | None, request: Request, response: Response) -> None:
    """Sets the headers of a page."""
    response.headers["Vary"] = "Authorization"
    if cursor is not None:
        kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        # Relative (RFC 8288 §3.1): only the client knows by which scheme and host it came.
        response.headers["Link"] = next_link(f"{request.url.path}?{urlencode([*kept, ('cursor', cursor)])}")


def page_answer(operation_id: str, *kept: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a page; what is `kept` says `next_page`."""
    page = next_page(operation_id, *kept)
    return {200: {**page, "headers": {**page["headers"], "Vary": VARY}}}
