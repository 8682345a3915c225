"""A collection in MongoDB, read by ranges of `_id`."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from sync_service.apply.ordering import Version
from sync_service.debezium.positions import LogPosition
from sync_service.sinks.mongodb.errors import without_values
from sync_service.sinks.rows import CannotCompare, WrongCondition

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorCollection

    Collection = AsyncIOMotorCollection[dict[str, Any]]

Document = dict[str, Any]

# Dates beyond Python's years are decoded as numbers, which the conversion rejects. Naive datetimes in UTC take half of
# the time to decode.
_DECODING: CodecOptions[Document] = CodecOptions(
    tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
_ASCENDING = [("_id", 1)]
LOOKED_UP_AT_ONCE = 500
# The documents that are mapped and compared before other tasks of the process can run, such as those that apply events.
# A whole batch would take a tenth of a second.
MAPPED_AT_ONCE = 200
_BOUNDS_OUT_OF_ORDER = 51175


def stored_version(document: Mapping[str, Any]) -> Version | None:
    """The version in a copy's document; None if another writer has written it."""
    stored = document.get("_sync")
    if not isinstance(stored, dict):
        return None
    names = ("stream", "offset", "epoch", "position", "operation")
    topic_partition, offset, generation, position, operation = (stored.get(name) or "" for name in names)
    return Version(topic_partition, offset, LogPosition.stored(generation, position), operation)


def decoded(document: bytes) -> Document:
    """As `Documents` reads it. Raises `BSONError`."""
    return bson.decode(document, _DECODING)


class Documents:
    """`fields` of the document itself are read in addition to `_id`, `condition` is a filter.

    Only documents that a majority has acknowledged are read, because others may still be rolled back.
    """

    def __init__(self, collection: "Collection", fields: Sequence[str], condition: Mapping[str, Any]) -> None:
        self._collection = collection.with_options(codec_options=_DECODING, read_concern=ReadConcern("majority"))
        # A projection takes such names for paths and expressions.
        is_projectable = all(name and not name.startswith("$") and "." not in name for name in fields)
        self._projection = dict.fromkeys(("_id", *fields), True) if is_projectable else None
        self._condition = dict(condition)

    async def estimate(self) -> int:
        with _translated():
            return await self._collection.estimated_document_count()

    async def check_condition(self) -> None:
        """Raises `WrongCondition`."""
        find = {"find": self._collection.name, "filter": self._condition, "hint": dict(_ASCENDING)}
        try:
            with _translated():
                # It executes nothing.
                await self._collection.database.command("explain", find, verbosity="queryPlanner")
        except CannotCompare as error:
            raise WrongCondition(f"--where: {error}") from error

    async def ids_from(self, lower: Any, offset: int, limit: int, upper: Any = None) -> Sequence[Any]:
        """`limit` ids, after the first `offset` from `lower` on, up to but without `upper` (None: open)."""
        with _translated():
            cursor = self._collection.find(
                self._condition,
                {"_id": True},
                sort=_ASCENDING,
                skip=offset,
                limit=limit,
                **_bounds(lower, upper),
            )
            return [document["_id"] for document in await cursor.to_list(limit)]

    async def ids(self, size: int) -> AsyncIterator[Any]:
        """All ids, from the index."""
        with _translated():
            cursor = self._collection.find_raw_batches(self._condition, {"_id": True}, hint=_ASCENDING, batch_size=size)
            async for raw in cursor:
                for document in bson.decode_all(raw, _DECODING):
                    yield document["_id"]

    async def batches(self, lower: Any, upper: Any, size: int) -> AsyncIterator[list[Document]]:
        """The documents from `lower` up to but without `upper` (None: open), in the order of their ids.

        Each request is for `size` of them. Between the lists, other tasks run.
        """
        with _translated():
            cursor = self._collection.find_raw_batches(
                self._condition, self._projection, sort=_ASCENDING, batch_size=size, **_bounds(lower, upper)
            )
            try:
                async for raw in cursor:
                    documents = bson.decode_all(raw, _DECODING)
                    for start in range(0, len(documents), MAPPED_AT_ONCE):
                        yield documents[start : start + MAPPED_AT_ONCE]
                        await asyncio.sleep(0)
            except OperationFailure as error:
                # The bounds are in the order of the other store, such as that of bytes. MongoDB's may be another, and
                # then a range that is not empty there is empty here.
                if error.code != _BOUNDS_OUT_OF_ORDER:
                    raise

    async def look_up(self, ids: Sequence[Any]) -> list[Document]:
        found: list[Document] = []
        with _translated():
            for start in range(0, len(ids), LOOKED_UP_AT_ONCE):
                requested = {"_id": {"$in": list(ids[start : start + LOOKED_UP_AT_ONCE])}}
                async for raw in self._collection.find_raw_batches({**self._condition, **requested}, self._projection):
                    found += bson.decode_all(raw, _DECODING)
        return found


def _bounds(lower: Any, upper: Any) -> dict[str, Any]:
    """Bounds of the index instead of a condition, which would match only ids of the bound's type."""
    bounds: dict[str, Any] = {"hint": _ASCENDING}
    if lower is not None:
        bounds["min"] = {"_id": lower}
    if upper is not None:
        bounds["max"] = {"_id": upper}
    return bounds


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (PyMongoError, BSONError) as error:
        reason = without_values(str(error))
        raise CannotCompare(f"MongoDB can't be read: {type(error).__name__}: {reason}") from error
