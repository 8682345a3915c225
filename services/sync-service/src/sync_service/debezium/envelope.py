"""Debezium's envelope: what happened to which row, and where the source's log has it."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from sync_service.debezium.errors import (
    InvalidEvent,
    MissingKey,
    NoKeys,
    Truncated,
    UnsupportedOperation,
    without_values,
)
from sync_service.debezium.positions import LogPosition
from sync_service.debezium.source import Row, Source, decode_json
from sync_service.sinks.sources import AnySource

Operation = Literal["c", "u", "d", "r"]
OperationName = Literal["create", "update", "delete", "read"]

SNAPSHOT_READ: Operation = "r"
_TRUNCATE = "t"
OPERATIONS: Mapping[Operation, OperationName] = {"c": "create", "u": "update", "d": "delete", "r": "read"}
# As texts for people show the operations.
OPERATION_LABELS: Mapping[OperationName, str] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "read": "read (snapshot)",
}


class _Envelope(msgspec.Struct):
    op: str
    source: AnySource
    before: msgspec.Raw = msgspec.Raw(b"null")
    after: Any = None
    ts_ms: int | None = None


class ChangeEvent(msgspec.Struct, frozen=True):
    """One change of one row. `before` and `after` are None where the source does not contain them."""

    operation: Operation
    key: Row
    after: Row | None
    source: Source
    ts_ms: int | None
    unread_before: msgspec.Raw

    @property
    def position(self) -> LogPosition | None:
        """The place of its transaction in the source's log. Raises `InvalidEvent`.

        None for a snapshot read: it has the connector's clock, and the position at which the snapshot began.
        """
        return None if self.operation == SNAPSHOT_READ else self.source.position

    @property
    def before(self) -> Row | None:
        """Decoded on access, because applying an event does not need it. Raises `InvalidEvent`."""
        try:
            return self.source.decode_row(decode_json(self.unread_before))
        except RecursionError as error:
            raise InvalidEvent("nested too deeply") from error


_envelopes = msgspec.json.Decoder(_Envelope)


def is_envelope(value: str) -> bool:
    """Whether the value of a record is one that Debezium writes, whatever the row in it is."""
    try:
        return _is_operation(_envelopes.decode(value).op)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def _is_operation(op: str) -> bool:
    """Debezium's have one letter, also those that change no single row."""
    return len(op) == 1


def decode(key: bytes | None, value: bytes | None) -> ChangeEvent | None:
    """Decode a record. None for a tombstone of log compaction, which changes nothing. Raises `InvalidEvent`."""
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
        raise InvalidEvent(f"not a change event: {without_values(error)}") from error
    source = envelope.source
    if envelope.op == _TRUNCATE:
        raise Truncated(
            "TRUNCATE TABLE does not change a single row: the copy keeps its rows until sync-service reconcile "
            "--repair deletes them; then discard this dead letter"
        )
    if envelope.op not in OPERATIONS:
        op = f"op {envelope.op!r}" if _is_operation(envelope.op) else "the op"
        raise UnsupportedOperation(f"{op} does not change a single row")
    if key is None:
        raise NoKeys(
            "the record has no key: its table has no primary key; add one, or name columns in the connector's "
            "message.key.columns"
        )
    if not key:
        raise MissingKey("the record has no key")
    return ChangeEvent(
        operation=cast("Operation", envelope.op),
        key=source.decode_key(key),
        after=source.decode_row(envelope.after),
        source=source,
        ts_ms=envelope.ts_ms,
        unread_before=envelope.before,
    )
