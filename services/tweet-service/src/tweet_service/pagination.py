"""Pages of lists that are sorted by time and id."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from bson import ObjectId
from fastapi import Depends, Query, Request, Response

from service_kit.pagination import (
    InvalidCursor,
    decode_cursor,
    encode_cursor,
    page_response,
    set_link_header,
)
from service_kit.schemas import Page
from tweet_service.headers import VARY

MAX_PAGE = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

ItemT = TypeVar("ItemT")

Position = tuple[datetime, ObjectId]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def cursor_after(time: datetime, item_id: str) -> str:
    """The cursor of what follows an item. Times have milliseconds, as in MongoDB."""
    return encode_cursor((time - _EPOCH) // _MILLISECOND, item_id)


def position_of(cursor: str) -> tuple[datetime, str]:
    """Raises `InvalidCursor`."""
    milliseconds, last_id = decode_cursor(cursor, int, str)
    try:
        return _EPOCH + milliseconds * _MILLISECOND, last_id
    except OverflowError as error:
        raise InvalidCursor from error


_Cursor = Annotated[str | None, Query(description="`next_cursor` of the previous page.", max_length=200)]


async def _position(cursor: _Cursor = None) -> tuple[datetime, str] | None:
    return None if cursor is None else position_of(cursor)


async def _tweet_position(cursor: _Cursor = None) -> Position | None:
    if cursor is None:
        return None
    time, last_id = position_of(cursor)
    if not ObjectId.is_valid(last_id):
        raise InvalidCursor
    return time, ObjectId(last_id)


# Time and id of the last item of the previous page; None for the first page. Raises `InvalidCursor`.
PositionDep = Annotated[tuple[datetime, str] | None, Depends(_position)]
# The same for a list of tweets.
TweetPositionDep = Annotated[Position | None, Depends(_tweet_position)]


def finish_page(page: Page[ItemT], request: Request, response: Response) -> Page[ItemT]:
    """Set the headers of a response that is a page."""
    set_page_headers(request, response, page.next_cursor)
    return page


def set_page_headers(request: Request, response: Response, next_cursor: str | None) -> None:
    response.headers["Vary"] = "Authorization"
    set_link_header(request, response, next_cursor)


def page_responses(operation_id: str, *required: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a page; for `required` see `page_response`."""
    page = page_response(operation_id, *required)
    return {200: {**page, "headers": {**page["headers"], "Vary": VARY}}}
