"""Writes a copy in MongoDB: the collection `<name>_copy` with versions and tombstones, and the view `<name>` of live
rows.

Only a tombstone has `_sync.deleted_at`. So readers of the collection can distinguish a deleted row from one that has
not arrived yet. MongoDB purges tombstones by a TTL index, which a route that keeps them does not have.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson.errors import BSONError
from pymongo import ASCENDING, IndexModel, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, CollectionInvalid, OperationFailure, PyMongoError

from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import REPAIRED, ApplyMode, Version
from sync_service.debezium.envelope import SNAPSHOT_READ
from sync_service.debezium.positions import LogPosition
from sync_service.routes.config import Route
from sync_service.sinks.base import (
    TOMBSTONE_LIFETIME,
    WRITE_SECONDS,
    RouteRefused,
    Unavailable,
    Written,
    split_applied_skipped,
)
from sync_service.sinks.mongodb.documents import stored_version
from sync_service.sinks.mongodb.errors import existing_documents, translated
from sync_service.sinks.mongodb.keys import stored_id, stored_value

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]
    Write = InsertOne[dict[str, Any]] | UpdateOne

# The live documents of a copy: no tombstones.
LIVE_DOCUMENTS: Mapping[str, Any] = {"_sync.deleted_at": None}
_PURGED_AT_ONCE = 1000
_INDEX_NOT_FOUND = 27
_NAMESPACE_EXISTS = 48

_ABSENT = {"$eq": [{"$type": "$_sync"}, "missing"]}

_PURGING = "_sync.deleted_at_1"


class MongoSink:
    def __init__(self, database: "Database", route: Route) -> None:
        self._database = database
        self._view = route.target.name
        self._name = route.target.copy_name
        self._collection = database[self._name]
        self._keeps_tombstones = route.tombstones == "keep"
        self._excluded = route.excluded_names
        # Of the collection that was prepared.
        self._uuid: object = None
        self._indexes = [IndexModel([(field, ASCENDING) for field in fields]) for fields in route.indexes]
        if not self._keeps_tombstones:
            lifetime = int(TOMBSTONE_LIFETIME.total_seconds())
            purging = IndexModel([("_sync.deleted_at", ASCENDING)], name=_PURGING, expireAfterSeconds=lifetime)
            self._indexes.append(purging)

    async def exists(self) -> bool:
        try:
            return await self._type_of(self._name) is not None
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    async def prepare(self) -> None:
        """Create missing collection, indexes and view. Drop the TTL index if the route keeps tombstones."""
        live = [{"$match": LIVE_DOCUMENTS}, {"$unset": "_sync"}]
        try:
            await self._create(self._name)
            if self._keeps_tombstones:
                await self._end_purging()
            if self._indexes:
                await self._collection.create_indexes(self._indexes)
            await self._create(self._view, viewOn=self._name, pipeline=live)
            self._uuid = await self._uuid_of_copy()
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    async def was_replaced(self) -> bool:
        """MongoDB creates a dropped collection again with the next write, without view and indexes."""
        try:
            return self._uuid is not None and await self._uuid_of_copy() != self._uuid
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    async def _create(self, name: str, **options: Any) -> None:
        """Raises `RouteRefused` if a view is where a collection has to be, or the other way round."""
        found = await self._type_of(name)
        if found is None:
            try:
                await self._database.create_collection(name, **options)
            except CollectionInvalid:
                pass  # another process has created it
            except OperationFailure as error:
                if error.code != _NAMESPACE_EXISTS:
                    raise
            found = await self._type_of(name)
        if found != (wanted := "view" if "viewOn" in options else "collection"):
            raise RouteRefused(f"{self._database.name}.{name} has to be a {wanted}, and is a {found} of another owner")

    async def _type_of(self, name: str) -> str | None:
        """`collection`, `view` or `timeseries`; None if there is nothing of this name."""
        found = await self._described(name)
        return None if found is None else str(found["type"])

    async def _uuid_of_copy(self) -> object:
        found = await self._described(self._name)
        return None if found is None else found["info"].get("uuid")

    async def _described(self, name: str) -> Mapping[str, Any] | None:
        """MongoDB's description of a collection or view; None if there is nothing of this name."""
        found = await (await self._database.list_collections(filter={"name": name})).to_list(None)
        return found[0] if found else None

    async def _end_purging(self) -> None:
        try:
            await self._collection.drop_index(_PURGING)
        except OperationFailure as error:
            if error.code != _INDEX_NOT_FOUND:
                raise

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        try:
            # Most created or snapshot rows do not exist yet, and an insert costs a third of a guarded upsert.
            applied, there = await self._bulk(
                [InsertOne(_document(each)) if _is_first(each) else _upsert(each, mode) for each in changes]
            )
            if there:
                updated, raced = await self._bulk([_upsert(changes[number], mode) for number in there])
                if raced:
                    raise Unavailable("MongoDB: another writer has created the same documents concurrently")
                applied += updated
            return await split_applied_skipped(changes, applied, lambda: self._events(changes))
        except (PyMongoError, BSONError, OverflowError, UnicodeError, TimeoutError) as error:
            raise translated(error) from error

    async def _bulk(self, requests: "list[Write]") -> tuple[int, Sequence[int]]:
        """The number of applied requests, and the indexes of inserts whose document exists already."""
        async with asyncio.timeout(WRITE_SECONDS):
            try:
                counts: Mapping[str, Any] = (await self._collection.bulk_write(requests, ordered=False)).bulk_api_result
                there: Sequence[int] = ()
            except BulkWriteError as error:
                counts, found = error.details, existing_documents(error.details)
                if found is None:
                    raise
                there = found
        return counts["nInserted"] + counts["nUpserted"] + counts["nModified"], there

    async def version(self, key: Key) -> Version | None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                document = await self._collection.find_one({"_id": stored_id(key)}, ["_sync"])
        except (PyMongoError, TimeoutError) as error:
            raise translated(error, of_row=False) from error
        return None if document is None else stored_version(document)

    async def _events(self, changes: Sequence[Change]) -> set[str]:
        """The events of these documents."""
        found = self._collection.find(
            {"_id": {"$in": [stored_id(change.key) for change in changes]}}, ("_sync.stream", "_sync.offset")
        )
        return {f"{each['_sync']['stream']}:{each['_sync']['offset']}" for each in await found.to_list(None)}

    async def purge(self) -> None:
        """Remove fields that the route excludes and earlier routes copied. MongoDB's TTL index purges tombstones."""
        if not self._excluded:
            return
        carrying = {"$or": [{name: {"$exists": True}} for name in self._excluded]}
        unset = {"$unset": dict.fromkeys(self._excluded, "")}
        ids: list[Any] = []
        try:
            # In the order of the ids, so that no document is read twice.
            while found := await self._collection.find(
                {"$and": [carrying, {"_id": {"$gt": ids[-1]}}]} if ids else carrying,
                ["_id"],
                sort=[("_id", ASCENDING)],
                limit=_PURGED_AT_ONCE,
            ).to_list(None):
                ids = [each["_id"] for each in found]
                await self._collection.update_many({"_id": {"$in": ids}}, unset)
        except PyMongoError as error:
            raise translated(error, of_row=False) from error


def _is_first(change: Change) -> bool:
    return change.version.operation in ("c", "r")


def _document(change: Change) -> dict[str, Any]:
    version = change.version
    return {
        "_id": stored_id(change.key),
        **{name: stored_value(value) for name, value in (change.values or {}).items()},
        "_sync": {
            "stream": version.topic_partition,
            "offset": version.offset,
            "epoch": version.position.generation if version.position else "",
            "position": version.position.text if version.position else None,
            "operation": version.operation,
            "deleted_at": datetime.now(UTC) if change.values is None else None,
        },
    }


def _upsert(change: Change, mode: ApplyMode) -> UpdateOne:
    """The filter is the id alone, because other conditions would need a query plan. The guard is in the update."""
    document = _document(change)
    whole: dict[str, Any] = {"$literal": document}
    if change.version.position is None:
        # An event without a position keeps the stored one, with its log generation.
        known = {"$ne": [{"$type": "$_sync.position"}, "missing"]}
        kept = {
            field: {"$cond": [known, f"$_sync.{field}", {"$literal": document["_sync"][field]}]}
            for field in ("epoch", "position")
        }
        whole = {"$mergeObjects": [whole, {"_sync": {"$mergeObjects": [{"$literal": document["_sync"]}, kept]}}]}
    update = [{"$replaceWith": {"$cond": [_guard(change.version, mode), whole, "$$ROOT"]}}]
    return UpdateOne({"_id": document["_id"]}, update, upsert=True)


def _guard(incoming: Version, mode: ApplyMode) -> dict[str, Any]:
    """Is the incoming event newer? The rule of `apply.ordering` on the stored `_sync`."""
    if mode is ApplyMode.REPAIR:
        event = {"stream": incoming.topic_partition, "offset": incoming.offset}
        same = {"$and": [{"$eq": [f"$_sync.{name}", value]} for name, value in event.items()]}
        return {"$or": [_ABSENT, same]}
    same_partition = {"$eq": ["$_sync.stream", incoming.topic_partition]}
    not_redelivered = {"$not": {"$and": [same_partition, {"$gte": ["$_sync.offset", incoming.offset]}]}}
    not_snapshot = {"$ne": ["$_sync.operation", SNAPSHOT_READ]}
    is_newer = {"$and": [not_snapshot, _follows_stored(incoming.position)]}
    if mode is ApplyMode.LIVE:
        return {"$or": [{"$and": [not_redelivered, {"$not": _precedes_stored(incoming.position)}]}, is_newer]}
    not_repaired = {"$ne": ["$_sync.operation", REPAIRED]}
    follows_in_topic = {"$and": [same_partition, not_repaired, {"$not": _precedes_stored(incoming.position)}]}
    return {"$or": [_ABSENT, {"$and": [not_redelivered, {"$or": [is_newer, follows_in_topic]}]}]}


def _precedes_stored(position: LogPosition | None) -> Any:
    """`LogPosition.precedes` of the incoming position and the stored one."""
    if position is None:
        return False
    return _comparable(
        position,
        {"$lt": [position.transaction, _stored(position.transaction)]},
        {"$lte": [position.latest, _stored(position.earliest, f"{position.transaction}@")]},
    )


def _follows_stored(position: LogPosition | None) -> Any:
    """`LogPosition.precedes` of the stored position and the incoming one."""
    if position is None:
        return False
    return _comparable(
        position,
        {"$lt": [_stored(position.transaction), position.transaction]},
        {"$lte": [_stored(position.latest, f"{position.transaction}@{position.earliest}-"), position.earliest]},
    )


def _comparable(position: LogPosition, *conditions: Mapping[str, Any]) -> Any:
    """Do the conditions hold, and is the stored position of the same generation?"""
    return {"$and": [{"$eq": ["$_sync.epoch", position.generation]}, *conditions]}


def _stored(part: str, before: str = "") -> Any:
    """The same part of the stored position: within one generation, all parts have the same width."""
    return {"$substrBytes": ["$_sync.position", len(before), len(part)]}
