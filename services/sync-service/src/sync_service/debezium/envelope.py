"""Debezium's envelope: what happened to which row, and where that is written."""

from typing import Any, Literal, cast

import msgspec

from sync_service.debezium.errors import InvalidEvent, MissingKey, UnsupportedOperation
from sync_service.debezium.extended_json import decode_extended

Operation = Literal["c", "u", "d", "r"]
Row = dict[str, Any]

_OPERATIONS = frozenset({"c", "u", "d", "r"})


class Source(msgspec.Struct, frozen=True):
    """The `source` block, as far as it is of use. `ts_ms` is milliseconds since the epoch."""

    connector: Literal["mysql", "mongodb"]
    name: str
    ts_ms: int
    db: str | None = None
    table: str | None = None
    collection: str | None = None
    gtid: str | None = None
    file: str | None = None
    pos: int | None = None
    row: int | None = None
    ord: int | None = None


class _Envelope(msgspec.Struct):
    op: str
    source: Source
    before: msgspec.Raw = msgspec.Raw(b"null")
    after: Any = None
    ts_ms: int | None = None


class ChangeEvent(msgspec.Struct, frozen=True):
    """One change of one row. `before` and `after` are null where the source does not tell them."""

    operation: Operation
    key: Row
    after: Row | None
    source: Source
    ts_ms: int | None
    unread_before: msgspec.Raw

    @property
    def before(self) -> Row | None:
        """Read when it is asked for: applying an event never does. Raises `InvalidEvent`."""
        try:
            return _row(_json(self.unread_before), self.source)
        except RecursionError as error:
            raise InvalidEvent("nested too deeply") from error


class _MongodbKey(msgspec.Struct):
    """`id` is the document's `_id` as Extended JSON, in a string."""

    id: str


_envelopes = msgspec.json.Decoder(_Envelope)
_mongodb_keys = msgspec.json.Decoder(_MongodbKey)
_anything = msgspec.json.Decoder()


def decode(key: bytes | None, value: bytes | None) -> ChangeEvent | None:
    """Read a record. None is a log-compaction tombstone, which says nothing new. Raises `InvalidEvent`."""
    if value is None:
        return None
    try:
        return _event(key, value)
    except RecursionError as error:
        raise InvalidEvent("nested too deeply") from error


def _event(key: bytes | None, value: bytes) -> ChangeEvent:
    try:
        envelope = _envelopes.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"not a change event: {error}") from error
    source = envelope.source
    if envelope.op not in _OPERATIONS:
        raise UnsupportedOperation(f"op {envelope.op!r} does not change a single row")
    if not key:
        raise MissingKey("the record has no key")
    return ChangeEvent(
        operation=cast("Operation", envelope.op),
        key=_mongodb_key(key) if source.connector == "mongodb" else _mysql_key(key),
        after=_row(envelope.after, source),
        source=source,
        ts_ms=envelope.ts_ms,
        unread_before=envelope.before,
    )


def _mysql_key(key: bytes) -> Row:
    parsed = _json(key)
    if not isinstance(parsed, dict):
        raise MissingKey(f"the key is not an object: {key[:100]!r}")
    return parsed


def _mongodb_key(key: bytes) -> Row:
    try:
        identifier = _mongodb_keys.decode(key).id
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MissingKey(f"no id in the key: {key[:100]!r}") from error
    return {"_id": decode_extended(_json(identifier))}


def _row(state: Any, source: Source) -> Row | None:
    if state is None:
        return None
    if source.connector == "mongodb" and isinstance(state, str):
        state = decode_extended(_json(state))
    if not isinstance(state, dict):
        raise InvalidEvent(f"a row is not an object but {type(state).__name__}")
    return state


def _json(text: bytes | str | msgspec.Raw) -> Any:
    try:
        return _anything.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"not JSON: {error}") from error
