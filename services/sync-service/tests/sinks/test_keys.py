"""Keys of copies in the real stores: exact, or refused."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import mongodb_event, mysql_event
from sync_service.apply.changes import Change
from sync_service.apply.decode import decode_change
from sync_service.apply.ordering import ApplyMode, topic_partition
from sync_service.debezium.errors import UnfitValue
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_key
from sync_service.sinks.base import Rejected
from sync_service.sinks.canonical import CanonicalRow
from sync_service.sinks.mongodb.copy_reader import MongoCopyReader
from sync_service.sinks.mongodb.documents import Documents
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mysql.ddl import missing
from sync_service.sinks.mysql.schema import change_tables
from sync_service.sinks.mysql.sink import MysqlSink
from sync_service.sinks.rows import KeyRange

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

TOPIC_PARTITION = topic_partition("1" * 32, 0)
LIMIT = 2**63
OID = "5f" * 12


def keyed_route(target: dict[str, str], key: dict[str, Any], kind: str) -> Route:
    return Route.model_validate(
        {"name": "keyed", "topic": "cdc.shop.keyed", "target": target, "key": key, "fields": {"v": kind}}
    )


def collection_route(key: dict[str, Any]) -> Route:
    return keyed_route({"store": "mongodb", "collection": "keyed"}, key, "integer")


def mysql_change(route: Route, row: dict[str, Any], number: int) -> Change:
    key, value = mysql_event({"id": "unused", **row}, pos=number)
    change = decode_change(route, key, value, topic_partition=TOPIC_PARTITION, number=number)
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("declared", "written", "stored"),
    [
        ("decimal", ["1.000000", "1.100000", "-99999999999999.999999", "0.000001"], None),
        ("unsigned", [0, 5, -1, -LIMIT], [0, 5, Decimal128(str(2**64 - 1)), Decimal128(str(LIMIT))]),
        ("datetime", ["2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00.124Z", "0001-01-01T00:00:00Z"], None),
        ("date", ["2026-01-01Z", "2026-01-02Z"], ["2026-01-01", "2026-01-02"]),
        ("time", ["13:14:15Z", "13:14:15.000001Z"], ["13:14:15", "13:14:15.000001"]),
        ("binary", ["", "AA==", "AAA=", "/w=="], [b"", b"\0", b"\0\0", b"\xff"]),
        ("boolean", [0, 1], [False, True]),
        ("integer", [-LIMIT, 2**53, 2**53 + 1], None),
        ("number", [0.1, 5e-324, 1.7976931348623157e308], None),
        ("string", ["a", "A", "a ", "\0", "e\u0301", "é", ""], None),
        ("uuid", ["00010203-0405-0607-0809-0a0b0c0d0e0f"], None),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
async def test_every_type_is_an_exact_key_of_a_collection(
    database: "Database", declared: str, written: list[Any], stored: list[Any] | None, parts: int
) -> None:
    """Alone, and in a document. It is written, read by the comparison, updated and deleted."""
    names = ["_id"] if parts == 1 else ["a", "b"]
    route = collection_route({name: {"from": "id", "type": declared} for name in names})
    sink = MongoSink(database, route)
    await sink.prepare()
    changes = [mysql_change(route, {"id": each, "v": number}, number) for number, each in enumerate(written)]
    assert len((await sink.write(changes)).applied) == len(written)
    # An inserted row that exists already takes the other way through the sink.
    assert len((await sink.write(changes)).skipped) == len(written)

    found = [document["_id"] async for document in database["keyed"].find()]
    assert len(found) == len(written)
    if stored is not None and parts == 1:
        assert sorted(map(repr, found)) == sorted(map(repr, stored))
    reader = MongoCopyReader(
        Documents(database["keyed_copy"], ["v"], {}), Documents(database["keyed_copy"], ["v", "_sync"], {}), NO_FIELDS
    )
    keys = {change.key for change in changes}
    assert {row.key async for page in reader.pages(KeyRange()) for row in page} == keys
    assert (await reader.look_up(keys)).keys() == keys

    again = [mysql_change(route, {"id": each, "v": 7}, 100 + number) for number, each in enumerate(written)]
    assert len((await sink.write(again)).applied) == len(written)
    assert {document["v"] async for document in database["keyed"].find()} == {7}


NO_FIELDS = CanonicalRow([], [])


@pytest.mark.parametrize("key", [{"_id": {"from": "id", "type": "datetime"}}, {"id": "datetime", "v2": "datetime"}])
def test_key_that_mongodb_would_cut_is_refused(key: dict[str, Any]) -> None:
    route = collection_route(key)
    with pytest.raises(UnfitValue, match=r"MongoDB's dates have milliseconds.*use string"):
        map_key(route, {"id": "2026-01-01T00:00:00.123001Z", "v2": "2026-01-01T00:00:00Z"})
    assert map_key(collection_route({"_id": {"from": "id", "type": "datetime"}}), {"id": "2026-01-01T00:00:00.123Z"})


def test_decimal_key_that_bson_would_round_is_refused() -> None:
    with pytest.raises(UnfitValue, match="BSON has no decimals of so many digits"):
        map_key(collection_route({"_id": {"from": "id", "type": "decimal"}}), {"id": f"{'9' * 35}.1"})


# Ids that have one key: the type of the key, and each id as the connector writes it.
CONFLICTS = {
    "ObjectId and text": ("string", [{"$oid": OID}, OID]),
    "UUID and text": (
        "string",
        [{"$binary": {"base64": "AAAAAAAAAAAAAAAAAAAABw==", "subType": "04"}}, "00000000-0000-0000-0000-000000000007"],
    ),
    "UUID and bytes": (
        "uuid",
        [
            {"$binary": {"base64": "AAAAAAAAAAAAAAAAAAAABw==", "subType": "04"}},
            {"$binary": {"base64": "AAAAAAAAAAAAAAAAAAAABw==", "subType": "00"}},
        ],
    ),
    "true and 1": ("boolean", [True, 1]),
    "subtypes": ("binary", [{"$binary": {"base64": "azA=", "subType": each}} for each in ("00", "05", "80")]),
    "double and decimal": ("number", [0.1, {"$numberDecimal": "0.1"}]),
    "double and decimal, as decimals": ("decimal", [0.1, {"$numberDecimal": "0.1"}, "0.1"]),
    "date and text": ("datetime", [{"$date": "2026-01-01T00:00:00Z"}, "2026-01-01T00:00:00Z"]),
    "two texts": ("time", ["13:14:15", "13:14:15Z"]),
}
DOCUMENTS = [{"a": 1, "b": "x"}, {"b": "x", "a": 1}, {"a": 1, "b": "x", "c": 1}, {"a": 1, "b": "x", "c": 2}]


def table_route(key: dict[str, Any]) -> Route:
    return keyed_route({"store": "mysql", "table": "keyed"}, key, "string")


def mongodb_change(route: Route, identifier: Any, number: int, op: str = "c", v: str = "") -> Change:
    key, value = mongodb_event({"_id": identifier, "v": v}, op=op, ordinal=number)
    change = decode_change(route, key, value, topic_partition=TOPIC_PARTITION, number=number)
    assert change is not None
    return change


@pytest.fixture
async def tables(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    yield engine
    async with engine.begin() as connection:
        await connection.execute(text("DROP VIEW IF EXISTS keyed"))
        await connection.execute(text("DROP TABLE IF EXISTS keyed_copy"))


async def table_sink(engine: AsyncEngine, route: Route) -> MysqlSink:
    async with engine.begin() as connection:
        for statement in missing(route, {}):
            await connection.exec_driver_sql(statement)
    sink = MysqlSink(engine, route)
    await sink.prepare()
    return sink


async def rows(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return [row.v for row in await connection.execute(text("SELECT v FROM keyed"))]


@pytest.mark.parametrize("case", [*CONFLICTS, "documents"])
async def test_second_id_of_a_key_is_refused_and_the_first_row_stays(tables: AsyncEngine, case: str) -> None:
    if case == "documents":
        key = {"a": {"from": "_id.a", "type": "integer"}, "b": {"from": "_id.b", "type": "string"}}
        route, ids = table_route(key), DOCUMENTS
    else:
        declared, ids = CONFLICTS[case]
        route = table_route(
            {"id": {"from": "_id", "type": declared, **({"length": 60} if declared == "string" else {})}}
        )
    sink = await table_sink(tables, route)
    first, *others = ids
    await sink.write([mongodb_change(route, first, 1, v="first")])
    for number, other in enumerate(others, 2):
        for op in "crud":
            second = mongodb_change(route, other, number * 10 + "crud".index(op), op, v="second")
            assert second.key == mongodb_change(route, first, 1).key
            with pytest.raises(Rejected, match="another row of the source has the same key"):
                await sink.write([second])
    assert await rows(tables) == ["first"]
    # The first row is still followed; after its delete the key is free.
    await sink.write([mongodb_change(route, first, 100, "u", v="changed")])
    assert await rows(tables) == ["changed"]
    await sink.write([mongodb_change(route, first, 101, "d")])
    await sink.write([mongodb_change(route, others[0], 102, v="second")])
    assert await rows(tables) == ["second"]


async def test_ids_that_mongodb_takes_for_one_are_one_row(tables: AsyncEngine) -> None:
    route = table_route({"id": {"from": "_id", "type": "integer"}})
    sink = await table_sink(tables, route)
    for number, same in enumerate((1, 1.0, {"$numberDecimal": "1.0"}, {"$numberLong": "1"}), 1):
        await sink.write([mongodb_change(route, same, number, "u", v=str(number))])
        assert await rows(tables) == [str(number)]


async def test_rows_of_the_last_release_are_continued(tables: AsyncEngine, schema_url: str) -> None:
    """Their tables lack the column, and it is unknown which id they come from."""
    route = table_route({"id": {"from": "_id", "type": "string"}})
    await table_sink(tables, route)
    async with tables.begin() as connection:
        await connection.execute(text("ALTER TABLE keyed_copy DROP COLUMN sync_source_id"))
        for each in (OID, "text"):
            await connection.execute(
                text(
                    "INSERT INTO keyed_copy (id, v, sync_event, sync_epoch, sync_position, sync_operation) "
                    "VALUES (:id, 'old', :event, 'mongodb:cdc.mongo', '0', 'c')"
                ),
                {"id": each, "event": f"{TOPIC_PARTITION}:{0:019d}"},
            )
    (added,) = await change_tables(schema_url, [route], apply=True)
    assert added.startswith("ALTER TABLE `keyed_copy` ADD COLUMN `sync_source_id`")
    sink = MysqlSink(tables, route)
    await sink.write(
        [mongodb_change(route, {"$oid": OID}, 1, "u", "new"), mongodb_change(route, "text", 2, "u", "new")]
    )
    assert await rows(tables) == ["new", "new"]
    with pytest.raises(Rejected):
        await sink.write([mongodb_change(route, OID, 3, "u", "other")])


async def test_repair_replaces_the_row_of_another_id(tables: AsyncEngine) -> None:
    route = table_route({"id": {"from": "_id", "type": "string"}})
    sink = await table_sink(tables, route)
    await sink.write([mongodb_change(route, {"$oid": OID}, 1, v="first")])
    second = mongodb_change(route, OID, 1, v="second")
    assert len((await sink.write([second], ApplyMode.REPAIR)).applied) == 1
    assert await rows(tables) == ["second"]
