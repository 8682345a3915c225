"""Keyset pagination: opaque cursors, and the `Link` header of the next page (RFC 8288)."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from service_kit.problems import ValidationFailed
from service_kit.schemas import is_text

ItemT = TypeVar("ItemT")


class InvalidCursor(ValidationFailed):
    code, title = "invalid-cursor", "The cursor is not from this list."
    parameter = "cursor"


def encode_cursor(*position: str | int) -> str:
    """Encode the sort key of a page's last item. Clients must treat the result as opaque."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """Decode a cursor into values of the given types. Raises `InvalidCursor`."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    if not isinstance(position, list) or [type(part) for part in position] != list(types):
        raise InvalidCursor
    if not all(is_text(part) for part in position if isinstance(part, str)):
        raise InvalidCursor
    return tuple(position)


_LINK = {"description": "RFC 8288, `rel=next`; absent on the last page.", "schema": {"type": "string"}}


def page_response(operation_id: str, *required: str) -> dict[str, Any]:
    """OpenAPI description of one page of the list that this operation reads, with a link to the next page.

    `required` are the parameters that the next request must repeat, such as `path.tweet_id` or `query.q`.
    """
    parameters = {name: f"$request.{name}" for name in required} | {"query.cursor": "$response.body#/next_cursor"}
    return {
        "headers": {"Link": _LINK},
        "links": {"next_page": {"operationId": operation_id, "parameters": parameters}},
    }


def split_page(found: Sequence[ItemT], limit: int) -> tuple[list[ItemT], bool]:
    """The items of one page, and whether a next page exists.

    `found` is the result of a query for `limit + 1` items.
    """
    return list(found[:limit]), len(found) > limit


def set_link_header(request: Request, response: Response, next_cursor: str | None) -> None:
    """Set `Link` to the address of the next page: this request's with the next cursor. Nothing on the last page."""
    if next_cursor is None:
        return
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*parameters, ("cursor", next_cursor)])
    # A relative address (RFC 8288 §3.1): behind the gateway only the client knows its scheme and host. The path of
    # `request.url` may be from the header Host.
    response.headers["Link"] = f'<{quote(request.scope["path"])}?{query}>; rel="next"'
