"""Opaque keyset cursors."""

import base64
import binascii
import json
from typing import Any

from service_kit.problems import FieldError, ValidationFailed
from service_kit.wire import is_unicode


class InvalidCursor(ValidationFailed):
    code, title = "invalid-cursor", "The cursor is not one that this list handed out."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(parameter="cursor", code=self.code, detail=self.title)])


def encode_cursor(*position: str | int) -> str:
    """Pack the sort key of a page's last item; what is in it is nobody's business but the list's."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """Unpack a cursor into values of the given types. Raises `InvalidCursor` for anything else."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    if not isinstance(position, list) or [type(part) for part in position] != list(types):
        raise InvalidCursor
    if not all(is_unicode(part) for part in position if isinstance(part, str)):
        raise InvalidCursor
    return tuple(position)


_LINK = {"description": "RFC 8288, `rel=next`; absent on the last page.", "schema": {"type": "string"}}


def next_page(operation_id: str, *kept: str) -> dict[str, Any]:
    """OpenAPI's words for a page of the list that this operation reads.

    `kept` are the parameters without which there is no such list, as in `path.tweet_id` or `query.q`.
    """
    parameters = {name: f"$request.{name}" for name in kept} | {"query.cursor": "$response.body#/next_cursor"}
    return {"headers": {"Link": _LINK}, "links": {"next_page": {"operationId": operation_id, "parameters": parameters}}}


def next_link(url: str) -> str:
    """RFC 8288 `Link` to the next page."""
    return f'<{url}>; rel="next"'
