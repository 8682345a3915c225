"""Debezium's envelope: what happened to which row, and where that is written."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from sync_service.events.extended_json import decode_extended
from sync_service.events.problems import InvalidEvent, MissingKey, UnsupportedOperation

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
    before: Any = None
    after: Any = None
    ts_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One change of one row. `before` and `after` are null where the source does not tell them."""

    operation: Operation
    key: Row
    before: Row | None
    after: Row | None
    source: Source
    ts_ms: int | None


_envelopes = msgspec.json.Decoder(_Envelope)
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
    if envelope.op not in _OPERATIONS:
        raise UnsupportedOperation(f"op {envelope.op!r} does not change a single row")
    return ChangeEvent(
        operation=cast("Operation", envelope.op),
        key=_key(key, envelope.source),
        before=_row(envelope.before, envelope.source),
        after=_row(envelope.after, envelope.source),
        source=envelope.source,
        ts_ms=envelope.ts_ms,
    )


def _key(key: bytes | None, source: Source) -> Row:
    if not key:
        raise MissingKey("the record has no key")
    parsed = _json(key)
    if not isinstance(parsed, dict):
        raise MissingKey(f"the key is not an object: {key[:100]!r}")
    if source.connector == "mongodb":
        # {"id": "<the _id as Extended JSON, in a string>"}
        identifier = parsed.get("id")
        if not isinstance(identifier, str):
            raise MissingKey(f"no id in the key: {key[:100]!r}")
        return {"_id": decode_extended(_json(identifier))}
    return parsed


def _row(state: Any, source: Source) -> Row | None:
    if state is None:
        return None
    if source.connector == "mongodb" and isinstance(state, str):
        state = decode_extended(_json(state))
    if not isinstance(state, dict):
        raise InvalidEvent(f"a row is not an object but {type(state).__name__}")
    return state


def _json(text: bytes | str) -> Any:
    try:
        return _anything.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"not JSON: {error}") from error
