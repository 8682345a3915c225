"""MongoDB as a source: keys and documents in Extended JSON, and the place in the oplog, as Debezium writes them.

Fields of `source`: Debezium docs, "MongoDB connector", change event values.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from sync_service.debezium.errors import MissingKey
from sync_service.debezium.extended_json import decode_document, decode_id
from sync_service.debezium.source import Row, Source, decode_json
from sync_service.sinks.mongodb.source_id import source_id

SNAPSHOT_ORD = -1


class _Key(msgspec.Struct):
    """`id` is the document's `_id` as Extended JSON, in a string."""

    id: str


_keys = msgspec.json.Decoder(_Key)


class MongodbSource(Source, frozen=True, tag="mongodb"):
    # The oplog does not contain the document before the change.
    has_before: ClassVar[bool] = False

    collection: str | None = None
    ord: int | None = None

    @property
    def log_generation(self) -> str:
        """The connector's name."""
        return f"mongodb:{self.name}"

    @property
    def position(self) -> str | None:
        """Time and ordinal. A snapshot read has none: its time is the connector's clock, its `ord` is -1."""
        if self.ord is None or self.ord == SNAPSHOT_ORD:
            return None
        return f"{self.ts_ms:020d}.{self.ord:010d}"

    @staticmethod
    def decode_key(key: bytes) -> Row:
        try:
            identifier = _keys.decode(key).id
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MissingKey(f"no id in the key: {key[:100]!r}") from error
        return {"_id": decode_id(decode_json(identifier))}

    @staticmethod
    def identify(key: Row) -> str:
        return source_id(key.get("_id"))

    @staticmethod
    def decode_row(state: Any) -> Row | None:
        return Source.decode_row(decode_document(decode_json(state)) if isinstance(state, str) else state)

    @staticmethod
    def key_of_row(row: Any) -> Mapping[str, Any]:
        document = decode_json(row) if isinstance(row, str) else row
        return {"id": json.dumps(document.get("_id") if isinstance(document, dict) else None)}
