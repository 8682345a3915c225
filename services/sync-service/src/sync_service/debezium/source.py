"""The `source` block of a change event: where the change comes from.

What differs from connector to connector is said here once and answered by a subclass for each store (`sinks.sources`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from sync_service.debezium.errors import InvalidEvent, MissingKey
from sync_service.debezium.positions import LogPosition

Row = dict[str, Any]

_json = msgspec.json.Decoder()


class Source(msgspec.Struct, frozen=True, tag_field="connector"):
    """`ts_ms` is milliseconds since the Unix epoch. The tag of a subclass is the name of its connector."""

    # The names of the store in topics, in lower case.
    names: ClassVar[tuple[str, ...]] = ()
    # Does an update or a delete have the row before it?
    has_before: ClassVar[bool] = True

    name: str
    ts_ms: int
    db: str | None = None

    @property
    def connector(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def position(self) -> LogPosition:
        """The place of a streaming event's transaction in the source's log. Raises `InvalidEvent`."""
        raise NotImplementedError

    @staticmethod
    def decode_key(key: bytes) -> Row:
        """The key of a record. Raises `MissingKey`."""
        parsed = decode_json(key)
        if not isinstance(parsed, dict):
            raise MissingKey(f"the key is not an object but {type(parsed).__name__}")
        return parsed

    @staticmethod
    def identify(key: Row) -> str:  # noqa: ARG004 - for stores whose keys the copy can't tell apart
        """Identifies a row where different keys of the source may have the same key in the copy; otherwise empty."""
        return ""

    @staticmethod
    def decode_row(state: Any) -> Row | None:
        """The row of `before` or `after`. Raises `InvalidEvent`."""
        if state is not None and not isinstance(state, dict):
            raise InvalidEvent(f"a row is not an object but {type(state).__name__}")
        return state

    @staticmethod
    def key_of_row(row: Any) -> Mapping[str, Any]:
        """What the connector would write as the key of a row. Raises `InvalidEvent`."""
        if not isinstance(row, dict):
            raise InvalidEvent(f"a row is not an object but {type(row).__name__}")
        return row


def decode_json(text: bytes | str | msgspec.Raw) -> Any:
    """Raises `InvalidEvent`."""
    try:
        return _json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"not JSON: {error}") from error
