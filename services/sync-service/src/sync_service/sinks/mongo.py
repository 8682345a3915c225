"""A copy in MongoDB: the collection `<name>_copy` with versions and tombstones, and the view `<name>` of what lives.

Who has to tell a deleted row from one that has not arrived reads the collection: only a tombstone has a
`_sync.deleted_at`. MongoDB purges tombstones by a TTL index, which a route that keeps them has not.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from bson.errors import BSONError
from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.errors import BulkWriteError, CollectionInvalid, DocumentTooLarge, OperationFailure, PyMongoError

from sync_service.apply.changes import Change
from sync_service.apply.rule import Flow, Version
from sync_service.routes.models import MongoTarget, Route
from sync_service.sinks.sink import TOMBSTONE_LIFETIME, WRITE_SECONDS, Rejected, Unavailable, Written

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

# Errors that the content of a document causes (MongoDB's error_codes.yml); every other one is the server's own trouble.
_DATA_ERRORS = frozenset(
    {
        2,  # BadValue
        9,  # FailedToParse
        14,  # TypeMismatch
        22,  # InvalidBSON
        52,  # DollarPrefixedFieldName
        53,  # InvalidIdField
        121,  # DocumentValidationFailure
        10334,  # BSONObjectTooLarge
        17280,  # KeyTooLong
        17419,  # resulting document after update is too large
        17420,  # document to upsert is too large
    }
)
_INDEX_NOT_FOUND = 27
_NAMESPACE_EXISTS = 48

_PURGING = "_sync.deleted_at_1"


class MongoSink:
    def __init__(self, database: "Database", route: Route) -> None:
        if not isinstance(route.target, MongoTarget):
            raise TypeError(f"route {route.name} does not go to MongoDB")
        self._database = database
        self._view = route.target.collection
        self._name = f"{route.target.collection}_copy"
        self._collection = database[self._name]
        self._keeps_tombstones = route.tombstones == "keep"
        self._indexes = [IndexModel([(field, ASCENDING) for field in fields]) for fields in route.indexes]
        if not self._keeps_tombstones:
            lifetime = int(TOMBSTONE_LIFETIME.total_seconds())
            purging = IndexModel([("_sync.deleted_at", ASCENDING)], name=_PURGING, expireAfterSeconds=lifetime)
            self._indexes.append(purging)

    async def prepare(self) -> None:
        """Make collection, indexes and view, as far as they are missing; end the purging that the route ended."""
        live = [{"$match": {"_sync.deleted_at": None}}, {"$unset": "_sync"}]
        try:
            await self._create(self._name)
            if self._keeps_tombstones:
                await self._end_purging()
            if self._indexes:
                await self._collection.create_indexes(self._indexes)
            await self._create(self._view, viewOn=self._name, pipeline=live)
        except PyMongoError as error:
            raise _unavailable(error) from error

    async def _create(self, name: str, **options: Any) -> None:
        if await self._database.list_collection_names(filter={"name": name}):
            return
        try:
            await self._database.create_collection(name, **options)
        except CollectionInvalid:
            pass  # another process was faster
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise

    async def _end_purging(self) -> None:
        try:
            await self._collection.drop_index(_PURGING)
        except OperationFailure as error:
            if error.code != _INDEX_NOT_FOUND:
                raise

    async def write(self, changes: Sequence[Change], flow: Flow = Flow.LIVE) -> Written:
        try:
            upserts = [_upsert(change, flow) for change in changes]
            async with asyncio.timeout(WRITE_SECONDS):
                result = await self._collection.bulk_write(upserts, ordered=False)
        except BulkWriteError as error:
            raise _translated(error) from error
        except (BSONError, DocumentTooLarge, OverflowError, UnicodeError) as error:
            raise Rejected(f"{type(error).__name__}: {error}") from error
        except OperationFailure as error:
            if error.code in _DATA_ERRORS:
                raise Rejected(f"{error.code}: {error.details}"[:1000]) from error
            raise _unavailable(error) from error
        except (PyMongoError, TimeoutError) as error:
            raise _unavailable(error) from error
        applied = result.upserted_count + result.modified_count
        return Written(applied=applied, skipped=len(changes) - applied)

    async def purge(self) -> None:
        """The TTL index does it, if the route has its tombstones purged."""


def _upsert(change: Change, flow: Flow) -> UpdateOne:
    incoming = change.version
    document = {name: _bson(value) for name, value in (change.values or {}).items()}
    version: dict[str, Any] = {
        "stream": incoming.stream,
        "offset": incoming.offset,
        "epoch": incoming.epoch,
        "position": incoming.position,
        "operation": incoming.operation,
        "deleted_at": datetime.now(UTC) if change.values is None else None,
    }
    whole: dict[str, Any] = {"$literal": {"_id": change.key[0], **document, "_sync": version}}
    if incoming.position is None:
        # An event without a position leaves the known one, and the epoch that it belongs to.
        known = {"$ne": [{"$type": "$_sync.position"}, "missing"]}
        kept = {
            field: {"$cond": [known, f"$_sync.{field}", {"$literal": version[field]}]}
            for field in ("epoch", "position")
        }
        whole = {"$mergeObjects": [whole, {"_sync": {"$mergeObjects": [{"$literal": version}, kept]}}]}
    update = [{"$replaceWith": {"$cond": [_guard(incoming, flow), whole, "$$ROOT"]}}]
    return UpdateOne({"_id": change.key[0]}, update, upsert=True)


def _guard(incoming: Version, flow: Flow) -> dict[str, Any]:
    """Is the incoming event newer? The rule of `apply.rule`, line by line, on the stored `_sync`."""
    absent = {"$eq": [{"$type": "$_sync"}, "missing"]}
    not_redelivered = {
        "$or": [{"$ne": ["$_sync.stream", incoming.stream]}, {"$lt": ["$_sync.offset", incoming.offset]}]
    }
    same_epoch = {"$eq": [{"$indexOfBytes": [{"$literal": incoming.epoch}, "$_sync.epoch"]}, 0]}
    known = {"$eq": [{"$type": "$_sync.position"}, "string"]}
    comparable = {"$and": [same_epoch, known, incoming.position is not None]}
    newer = {"$and": [comparable, {"$lt": ["$_sync.position", incoming.position]}]}
    if flow is Flow.REPLAY:
        wins: Any = newer
    elif incoming.operation == "r":
        wins = True
    else:
        wins = {"$or": [{"$not": [comparable]}, newer]}
    return {"$or": [absent, {"$and": [not_redelivered, wins]}]}


def _bson(value: Any) -> Any:
    """BSON knows no decimal.Decimal."""
    return Decimal128(value) if isinstance(value, Decimal) else value


def _translated(error: BulkWriteError) -> Rejected | Unavailable:
    """Other documents of the bulk may have been written: writing them again changes nothing."""
    failures = error.details.get("writeErrors", [])
    if failures and all(failure["code"] in _DATA_ERRORS for failure in failures):
        return Rejected(f"{failures[0]['code']}: {failures[0]['errmsg']}")
    return _unavailable(error)


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"MongoDB: {type(error).__name__}: {str(error)[:300]}")
