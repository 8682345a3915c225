"""A copy in MongoDB: the collection `<name>_copy` with versions and tombstones, and the view `<name>` of what lives.

Who has to tell a deleted row from one that has not arrived reads the collection: only a tombstone has a
`_sync.deleted_at`. MongoDB purges tombstones by a TTL index, which a route that keeps them has not.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from bson.errors import BSONError
from pymongo import ASCENDING, IndexModel, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, CollectionInvalid, DocumentTooLarge, OperationFailure, PyMongoError

from sync_service.apply.changes import Change
from sync_service.apply.ordering import SNAPSHOT_READ, ApplyMode, Version, comparable_generations
from sync_service.routes.config import Route
from sync_service.sinks.base import (
    TOMBSTONE_LIFETIME,
    WRITE_SECONDS,
    Rejected,
    Unavailable,
    Written,
    split_applied_skipped,
)

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]
    Write = InsertOne[dict[str, Any]] | UpdateOne

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
        11000,  # DuplicateKey, of a unique index that somebody has added
        17280,  # KeyTooLong
        17419,  # resulting document after update is too large
        17420,  # document to upsert is too large
    }
)
# Of a copy: what is no tombstone.
LIVE_DOCUMENTS: Mapping[str, Any] = {"_sync.deleted_at": None}
_INDEX_NOT_FOUND = 27
_NAMESPACE_EXISTS = 48
_DUPLICATE_KEY = 11000

_ABSENT = {"$eq": [{"$type": "$_sync"}, "missing"]}

_PURGING = "_sync.deleted_at_1"


class MongoSink:
    def __init__(self, database: "Database", route: Route) -> None:
        self._database = database
        self._view = route.target.name
        self._name = f"{route.target.name}_copy"
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

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        try:
            # Most rows that are created or read are not there yet, and to insert costs a third of a guarded upsert.
            applied, there = await self._bulk(
                [InsertOne(_document(each)) if _is_first(each) else _upsert(each, mode) for each in changes]
            )
            if there:
                updated, raced = await self._bulk([_upsert(changes[number], mode) for number in there])
                if raced:
                    raise Unavailable("MongoDB: somebody else made the same documents at the same moment")
                applied += updated
            return await split_applied_skipped(changes, applied, lambda: self._events(changes))
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

    async def _bulk(self, requests: "list[Write]") -> tuple[int, list[int]]:
        """How many were applied, and the numbers of those that were not because their document is there already."""
        async with asyncio.timeout(WRITE_SECONDS):
            try:
                counts: Mapping[str, Any] = (await self._collection.bulk_write(requests, ordered=False)).bulk_api_result
                there = []
            except BulkWriteError as error:
                counts, failures = error.details, error.details.get("writeErrors", [])
                if not failures or not all(map(_is_there_already, failures)):
                    raise
                there = [failure["index"] for failure in failures]
        return counts["nInserted"] + counts["nUpserted"] + counts["nModified"], there

    async def _events(self, changes: Sequence[Change]) -> set[str]:
        """The events that made these documents what they are."""
        found = self._collection.find(
            {"_id": {"$in": [change.key[0] for change in changes]}}, ("_sync.stream", "_sync.offset")
        )
        return {f"{each['_sync']['stream']}:{each['_sync']['offset']}" for each in await found.to_list(None)}

    async def purge(self) -> None:
        """The TTL index does it, if the route has its tombstones purged."""


def _is_first(change: Change) -> bool:
    return change.version.operation in ("c", "r")


def _document(change: Change) -> dict[str, Any]:
    version = change.version
    return {
        "_id": change.key[0],
        **{name: _bson(value) for name, value in (change.values or {}).items()},
        "_sync": {
            "stream": version.topic_partition,
            "offset": version.offset,
            "epoch": version.log_generation,
            "position": version.position,
            "operation": version.operation,
            "deleted_at": datetime.now(UTC) if change.values is None else None,
        },
    }


def _upsert(change: Change, mode: ApplyMode) -> UpdateOne:
    """By its id alone, as other conditions would cost MongoDB a query plan: the guard is in the update."""
    document = _document(change)
    whole: dict[str, Any] = {"$literal": document}
    if change.version.position is None:
        # An event without a position leaves the known one, and the epoch that it belongs to.
        known = {"$ne": [{"$type": "$_sync.position"}, "missing"]}
        kept = {
            field: {"$cond": [known, f"$_sync.{field}", {"$literal": document["_sync"][field]}]}
            for field in ("epoch", "position")
        }
        whole = {"$mergeObjects": [whole, {"_sync": {"$mergeObjects": [{"$literal": document["_sync"]}, kept]}}]}
    update = [{"$replaceWith": {"$cond": [_guard(change.version, mode), whole, "$$ROOT"]}}]
    return UpdateOne({"_id": change.key[0]}, update, upsert=True)


def _guard(incoming: Version, mode: ApplyMode) -> dict[str, Any]:
    """Is the incoming event newer? The rule of `apply.ordering` on the stored `_sync`.

    In MongoDB's order whatever is missing or null comes before every text: no position is below any position.
    """
    if mode is ApplyMode.REPAIR:
        event = {"stream": incoming.topic_partition, "offset": incoming.offset}
        same = {"$and": [{"$eq": [f"$_sync.{name}", value]} for name, value in event.items()]}
        return {"$or": [_ABSENT, same]}
    not_redelivered = {
        "$or": [{"$ne": ["$_sync.stream", incoming.topic_partition]}, {"$lt": ["$_sync.offset", incoming.offset]}]
    }
    same_generation = {"$in": ["$_sync.epoch", list(comparable_generations(incoming.log_generation))]}
    newer = {"$lt": ["$_sync.position", incoming.position]}
    if mode is ApplyMode.RETRY:
        known = {"$eq": [{"$type": "$_sync.position"}, "string"]}
        return {"$or": [_ABSENT, {"$and": [not_redelivered, same_generation, known, newer]}]}
    if incoming.operation == SNAPSHOT_READ or incoming.position is None:
        return not_redelivered
    return {"$and": [not_redelivered, {"$or": [newer, {"$not": same_generation}]}]}


def _is_there_already(failure: Mapping[str, Any]) -> bool:
    """It is the document itself that is there, and not another one with its value of a unique index."""
    return failure["code"] == _DUPLICATE_KEY and failure.get("keyPattern") == {"_id": 1}


def _bson(value: Any) -> Any:
    """BSON knows no decimal.Decimal."""
    return Decimal128(value) if isinstance(value, Decimal) else value


def _translated(error: BulkWriteError) -> Rejected | Unavailable:
    """Other documents of the bulk may have been written: writing them again changes nothing."""
    failures = [each for each in error.details.get("writeErrors", []) if not _is_there_already(each)]
    if failures and all(failure["code"] in _DATA_ERRORS for failure in failures):
        return Rejected(f"{failures[0]['code']}: {failures[0]['errmsg']}")
    return _unavailable(error)


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"MongoDB: {type(error).__name__}: {str(error)[:300]}")
