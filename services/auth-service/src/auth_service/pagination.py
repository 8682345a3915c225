"""Query parameters of lists that are sorted by id, newest first."""

from typing import Annotated

from fastapi import Depends, Query

from service_kit.pagination import InvalidCursor, decode_cursor
from service_kit.schemas import is_uuid


async def _before_id(
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the previous page.")] = None,
) -> str | None:
    if cursor is None:
        return None
    last_id: str = decode_cursor(cursor, str)[0]
    if not is_uuid(last_id):
        raise InvalidCursor
    return last_id


# The last id of the previous page, None for the first page. Raises `InvalidCursor`.
BeforeId = Annotated[str | None, Depends(_before_id)]
PageSize = Annotated[int, Query(ge=1, le=100)]
