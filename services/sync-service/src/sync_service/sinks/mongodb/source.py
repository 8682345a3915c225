"""MongoDB as a source: keys and documents in Extended JSON, and the place in the oplog, as Debezium writes them.

Fields of `source`: Debezium docs, "MongoDB connector", change event values.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from sync_service.debezium.errors import MissingKey
from sync_service.debezium.extended_json import decode_document, decode_id
from sync_service.debezium.positions import LogPosition
from sync_service.debezium.source import Row, Source, decode_json
from sync_service.sinks.mongodb.source_id import source_id

# The time of a change is that of the primary's clock. After an election, the new primary's clock may be behind by this.
CLOCK_DIFFERENCE_MS = 60_000


class _Key(msgspec.Struct):
    """`id` is the document's `_id` as Extended JSON, in a string."""

    id: str


_keys = msgspec.json.Decoder(_Key)


class MongodbSource(Source, frozen=True, tag="mongodb"):
    names: ClassVar[tuple[str, ...]] = ("mongo",)
    # The oplog does not contain the document before the change.
    has_before: ClassVar[bool] = False

    collection: str | None = None
    ord: int | None = None

    @property
    def position(self) -> LogPosition:
        """The time of the change: the event contains neither the cluster time nor a resume token.

        Debezium's `ord` is the increment of the cluster time, which is another clock, so it orders nothing.
        """
        return LogPosition(
            f"mongodb-clock:{self.name}", f"{self.ts_ms:020d}", self.ts_ms, self.ts_ms + CLOCK_DIFFERENCE_MS
        )

    @staticmethod
    def decode_key(key: bytes) -> Row:
        try:
            identifier = _keys.decode(key).id
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MissingKey("no id in the key") from error
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
