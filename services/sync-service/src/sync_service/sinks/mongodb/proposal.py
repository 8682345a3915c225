"""What a copy of a collection would have, by a sample of its documents."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bson import Binary, Code, DatetimeMS, Decimal128, ObjectId
from pymongo.errors import PyMongoError

from sync_service.routes.converters import FieldType
from sync_service.sinks.mongodb.errors import translated
from sync_service.sinks.proposals import CannotPropose, DescribedSource, ProposedField

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

SAMPLE = 1000
_SAMPLE_MS = 30_000
_LONGEST_KEY = 255
_UUID_SUBTYPE = 4

# The BSON types by the class of their values, and the type that copies them. A bool is an int, too, and code a text.
_TYPES: Sequence[tuple[type, str, FieldType]] = [
    (bool, "bool", "boolean"),
    (int, "int", "integer"),
    (float, "double", "number"),
    (Decimal128, "decimal", "decimal"),
    (Code, "javascript", "json"),
    (str, "string", "text"),
    (datetime, "date", "datetime"),
    (DatetimeMS, "date", "datetime"),
    (ObjectId, "objectId", "string"),
    (UUID, "uuid", "uuid"),
    (bytes, "binData", "binary"),
    (dict, "object", "json"),
    (list, "array", "json"),
]
_NULL, _OTHER = "null", "other"
# Debezium's incremental snapshot ends at a document with an `_id` of another type (its `keyFromRow`).
_IDS_OF_SNAPSHOTS = {"int", "double", "decimal", "objectId", "string"}
# All other types that an `_id` may have, by MongoDB's names.
_OTHER_IDS = ("object", "binData", "bool", "date", "timestamp", "javascript", "null", "minKey", "maxKey")
_OF_BSON: Mapping[str, FieldType] = {name: kind for _, name, kind in _TYPES}


async def describe_collection(database: "Database", name: str) -> DescribedSource:
    """Raises `CannotPropose`, `RouteRefused`, `Unavailable`."""
    place = f"{database.name}.{name}"
    try:
        found = await database.list_collections(filter={"name": name})
        kinds = [each["type"] async for each in found]
        if kinds and kinds != ["collection"]:
            raise CannotPropose(f"{place} is a {kinds[0]}: only collections have change events")
        collection = database[name]
        documents = await collection.aggregate([{"$sample": {"size": SAMPLE}}], maxTimeMS=_SAMPLE_MS).to_list(SAMPLE)
        estimate = await collection.estimated_document_count()
    except PyMongoError as error:
        raise translated(error, of_row=False) from error
    if not documents:
        raise CannotPropose(f"{place} has no documents, or does not exist: the fields follow from a sample of them")
    identifiers = [document["_id"] for document in documents]
    left_out = sorted(set(map(bson_type, identifiers)) - _IDS_OF_SNAPSHOTS)
    return DescribedSource(
        "mongodb",
        database.name,
        name,
        _proposed_key(place, identifiers),
        [
            _proposed_field((field,), [document[field] for document in documents if field in document], len(documents))
            for field in _names(documents)
            if field != "_id"
        ],
        f"{len(documents):,} of about {estimate:,} documents were read",
        _of_types(left_out),
    )


async def left_out_by_snapshots(collection: "AsyncIOMotorCollection[dict[str, Any]]") -> str | None:
    """As `DescribedSource.no_snapshot`, of all documents: the index of `_id` has the types beside each other.

    Raises `RouteRefused`, `Unavailable`.
    """
    try:
        return _of_types(
            [
                kind
                for kind in _OTHER_IDS
                # Without the document, which may have values that Python does not.
                if await collection.find_one({"_id": {"$type": kind}}, {"_id": 0, "_": 1}) is not None
            ]
        )
    except PyMongoError as error:
        raise translated(error, of_row=False) from error


def _of_types(left_out: Collection[str]) -> str | None:
    return f"documents with an _id of type {', '.join(left_out)}" if left_out else None


async def databases(client: "Client") -> Collection[str]:
    """The databases that the account may see. Raises `RouteRefused`, `Unavailable`."""
    try:
        return await client.list_database_names()
    except PyMongoError as error:
        raise translated(error, of_row=False) from error


def _names(documents: Iterable[Mapping[str, Any]]) -> Collection[str]:
    return dict.fromkeys(name for document in documents for name in document)


def _proposed_key(place: str, identifiers: Sequence[Any]) -> list[ProposedField]:
    shares = Counter(map(bson_type, identifiers))
    if len(shares) > 1:
        raise CannotPropose(f"the _id of {place} has several types ({_shares(shares, len(identifiers))})")
    if "object" not in shares:
        return [_key_part(place, ("_id",), identifiers)]
    names = list(_names(identifiers))
    if any(list(each) != names for each in identifiers):
        raise CannotPropose(f"not every _id of {place} has the fields {', '.join(names)}, in this order")
    return [_key_part(place, ("_id", name), [each[name] for each in identifiers]) for name in names]


def _key_part(place: str, path: tuple[str, ...], values: Sequence[Any]) -> ProposedField:
    part = _proposed_field(path, values, len(values))
    if part.type == "json":
        raise CannotPropose(f"{'.'.join(path)} of {place} is no key of a table ({part.remark})")
    if part.type == "text":
        return ProposedField(path, "string", part.remark, {"length": _LONGEST_KEY})
    return part


def _proposed_field(path: tuple[str, ...], values: Sequence[Any], documents: int) -> ProposedField:
    shares = Counter(map(bson_type, values))
    kinds = shares.keys() - {_NULL}
    kind: FieldType = "json"
    if kinds == {"int", "double"}:
        kind = "number"
    elif len(kinds) == 1:
        kind = _OF_BSON.get(next(iter(kinds)), "json")
    options = {"length": len(str(ObjectId()))} if kinds == {"objectId"} else {}
    return ProposedField(path, kind, _shares(shares, documents), options)


def _shares(counts: Mapping[str, int], documents: int) -> str:
    """`string`, or `string 97 %, null 2 %, absent 1 %`."""
    absent = documents - sum(counts.values())
    shares = sorted([*counts.items(), *([("absent", absent)] if absent else [])], key=lambda each: (-each[1], each[0]))
    if len(shares) == 1:
        return shares[0][0]
    return ", ".join(f"{name} {100 * count / documents:.2g} %" for name, count in shares)


def bson_type(value: Any) -> str:
    """The name of a value's type, as in docs/conversions.md."""
    if value is None:
        return _NULL
    if isinstance(value, Binary) and value.subtype == _UUID_SUBTYPE:
        return "uuid"
    return next((name for kind, name, _ in _TYPES if isinstance(value, kind)), _OTHER)
