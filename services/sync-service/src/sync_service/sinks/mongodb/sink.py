"""Writes a copy in MongoDB: the collection `<name>_copy` with versions and tombstones, and the view `<name>` of live
rows.

Only a tombstone has a date in `_sync.deleted_at`. So readers of the collection can distinguish a deleted row from one
that has not arrived yet. MongoDB purges tombstones by a TTL index, which a route that keeps them does not have.
"""

import asyncio
import json
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
from sync_service.routes.config import DELETED_AT, Route
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


def documents_of(route: Route) -> Mapping[str, Any]:
    """The filter for the documents of this route, tombstones included: a copy may have those of others, too."""
    return {f"_id.{name}": constant for name, constant in route.key_constants.items()}


def live_documents_of(route: Route) -> Mapping[str, Any]:
    return {**LIVE_DOCUMENTS, **documents_of(route)}


# With `deletes: keep-row`: the tombstones with the last values of their rows. Those without are of rows that the copy
# never had; readers do not see them, and they are purged like any tombstone.
_KEPT_DOCUMENTS: Mapping[str, Any] = {"_sync.kept": True}
_NOT_KEPT: Mapping[str, Any] = {"_sync.kept": None}
_PURGED_AT_ONCE = 1000
_INDEX_NOT_FOUND = 27
_NAMESPACE_EXISTS = 48

_ABSENT = {"$eq": [{"$type": "$_sync"}, "missing"]}

_PURGING = "_sync.deleted_at_1"
_PURGING_NOT_KEPT = "_sync.deleted_at_1_not_kept"


class MongoSink:
    def __init__(self, database: "Database", route: Route) -> None:
        self._database = database
        self._view = route.target.name
        self._name = route.target.copy_name
        self._collection = database[self._name]
        self._keeps_rows = route.keeps_rows
        self._excluded = route.excluded_names
        # Of the collection that was prepared.
        self._uuid: object = None
        self._indexes = [IndexModel([(field, ASCENDING) for field in fields]) for fields in route.indexes]
        # Indexes that would purge what this route keeps.
        self._ended: Sequence[str] = (_PURGING, _PURGING_NOT_KEPT)
        if route.tombstones != "keep":
            self._ended = (_PURGING,) if self._keeps_rows else ()
            name, condition = (_PURGING_NOT_KEPT, _NOT_KEPT) if self._keeps_rows else (_PURGING, None)
            options = {} if condition is None else {"partialFilterExpression": condition}
            lifetime = int(TOMBSTONE_LIFETIME.total_seconds())
            self._indexes.append(
                IndexModel([("_sync.deleted_at", ASCENDING)], name=name, expireAfterSeconds=lifetime, **options)
            )

    async def exists(self) -> bool:
        try:
            return await self._type_of(self._name) is not None
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    async def prepare(self) -> None:
        """Create missing collection, indexes and view. Drop TTL indexes that would purge what the route keeps."""
        try:
            await self._create(self._name)
            for name in self._ended:
                await self._end_purging(name)
            if self._indexes:
                await self._collection.create_indexes(self._indexes)
            await self._create_view()
            self._uuid = await self._uuid_of_copy()
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    async def missing(self) -> list[str]:
        """What `prepare` would create or change, as commands of mongosh. Raises `RouteRefused`, `Unavailable`."""
        try:
            copy, view = await self._described(self._name), await self._described(self._view)
            for name, described, kind in ((self._name, copy, "collection"), (self._view, view, "view")):
                if described is not None:
                    self._require_kind(name, described["type"], kind)
            database, name = f"db.getSiblingDB({json.dumps(self._database.name)})", json.dumps(self._name)
            commands = [] if copy is not None else [f"{database}.createCollection({name})"]
            # A collection that does not exist has none.
            keys = [list(index["key"]) for index in (await self._collection.index_information()).values()]
            for index in self._indexes:
                key = dict(index.document["key"])
                if list(key.items()) not in keys:
                    options = {option: each for option, each in index.document.items() if option != "key"}
                    arguments = f"{json.dumps(key)}, {json.dumps(options)}"
                    commands.append(f"{database}.getCollection({name}).createIndex({arguments})")
        except PyMongoError as error:
            raise translated(error, of_row=False) from error
        pipeline, other = self._pipelines
        if view is None:
            commands.append(f"{database}.createView({json.dumps(self._view)}, {name}, {json.dumps(pipeline)})")
        elif view["options"]["pipeline"] == other:
            change = {"collMod": self._view, "viewOn": self._name, "pipeline": pipeline}
            commands.append(f"{database}.runCommand({json.dumps(change)})")
        return commands

    async def drop(self) -> None:
        """Drop view and collection, if there are any. Raises `RouteRefused`, `Unavailable`."""
        try:
            for name, kind in ((self._view, "view"), (self._name, "collection")):
                if (found := await self._type_of(name)) not in {None, kind}:
                    raise RouteRefused(
                        f"{self._database.name}.{name} is no {kind} but a {found}, so it is not part of a copy"
                    )
            for name in (self._view, self._name):
                await self._database.drop_collection(name)
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    async def was_replaced(self) -> bool:
        """MongoDB creates a dropped collection again with the next write, without view and indexes."""
        try:
            return self._uuid is not None and await self._uuid_of_copy() != self._uuid
        except PyMongoError as error:
            raise translated(error, of_row=False) from error

    @property
    def _pipelines(self) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        """That of the view, which shows the live rows, or those and the kept ones; and the other one."""
        live: Sequence[Mapping[str, Any]] = [{"$match": LIVE_DOCUMENTS}, {"$unset": "_sync"}]
        with_kept: Sequence[Mapping[str, Any]] = [
            {"$match": {"$or": [LIVE_DOCUMENTS, _KEPT_DOCUMENTS]}},
            {"$set": {DELETED_AT: "$_sync.deleted_at"}},
            {"$unset": "_sync"},
        ]
        return (with_kept, live) if self._keeps_rows else (live, with_kept)

    async def _create_view(self) -> None:
        """A view that shows the others is changed, and no other one."""
        wanted, other = self._pipelines
        await self._create(self._view, viewOn=self._name, pipeline=wanted)
        found = await self._described(self._view)
        if found is not None and found["options"]["pipeline"] == other:
            await self._database.command("collMod", self._view, viewOn=self._name, pipeline=wanted)

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
        self._require_kind(name, found, "view" if "viewOn" in options else "collection")

    def _require_kind(self, name: str, found: str | None, wanted: str) -> None:
        """`found` is the kind of what has the name. Raises `RouteRefused`."""
        if found != wanted:
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

    async def _end_purging(self, index: str) -> None:
        try:
            await self._collection.drop_index(index)
        except OperationFailure as error:
            if error.code != _INDEX_NOT_FOUND:
                raise

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        try:
            # Most created or snapshot rows do not exist yet, and an insert costs a third of a guarded upsert.
            applied, there = await self._bulk(
                [InsertOne(_document(each)) if _is_first(each) else self._upsert(each, mode) for each in changes]
            )
            if there:
                updated, raced = await self._bulk([self._upsert(changes[number], mode) for number in there])
                if raced:
                    raise Unavailable("MongoDB: another writer has created the same documents concurrently")
                applied += updated
            return await split_applied_skipped(changes, applied, lambda: self._events(changes))
        except (PyMongoError, BSONError, OverflowError, UnicodeError, TimeoutError) as error:
            raise translated(error) from error

    def _upsert(self, change: Change, mode: ApplyMode) -> UpdateOne:
        return _upsert(change, mode, keeps_values=self._keeps_rows and change.values is None)

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


def _upsert(change: Change, mode: ApplyMode, *, keeps_values: bool = False) -> UpdateOne:
    """The filter is the id alone, because other conditions would need a query plan. The guard is in the update.

    `keeps_values`: a delete keeps the values of the row, if it has any, and the time of the first delete.
    """
    document = _document(change)
    whole: dict[str, Any] = {"$literal": document}
    stored: dict[str, Any] = {}
    if change.version.position is None:
        # An event without a position keeps the stored one, with its log generation.
        known = {"$ne": [{"$type": "$_sync.position"}, "missing"]}
        stored = {
            field: {"$cond": [known, f"$_sync.{field}", {"$literal": document["_sync"][field]}]}
            for field in ("epoch", "position")
        }
    if keeps_values:
        whole = "$$ROOT"  # type: ignore[assignment]  # an expression of MongoDB's, too
        was_live = {"$and": [{"$not": _ABSENT}, {"$eq": ["$_sync.deleted_at", None]}]}
        stored["kept"] = {"$cond": [{"$or": [was_live, "$_sync.kept"]}, True, "$$REMOVE"]}
        stored["deleted_at"] = {"$cond": ["$_sync.kept", "$_sync.deleted_at", document["_sync"]["deleted_at"]]}
    if stored:
        whole = {"$mergeObjects": [whole, {"_sync": {"$mergeObjects": [{"$literal": document["_sync"]}, stored]}}]}
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
