"""Every column type of MySQL and every type of BSON, through the real Debezium into the opposite store.

What docs/conversions.md promises is held against the same cases, and against the code.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import yaml
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.json_util import LEGACY_JSON_OPTIONS, dumps
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.background import Supervisor
from service_kit.mysql import create_engine
from support.connector import of_own_tables, reasons_of_dead_letters, run_connector
from support.polling import eventually
from sync_service.debezium.extended_json import decode_document
from sync_service.metrics import SyncMetrics
from sync_service.routes.config import Route
from sync_service.routes.converters import FieldType, convert, limited_decimal
from sync_service.routes.loader import load_routes
from sync_service.routes.mapping import map_fields
from sync_service.runner import SyncRunner
from sync_service.settings import Settings
from sync_service.sinks.mysql.ddl import column_type

CONVERSIONS = Path(__file__).parents[4] / "docs" / "conversions.md"
OID = ObjectId("6b062191ec766319070cef51")
UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
STREAMED = 100  # what is added to the id of a row for the one that is inserted when its connector runs


@dataclass(frozen=True)
class Case:
    """`source` as docs/conversions.md calls it, a value of it, how the field is declared, what is in the copy."""

    source: str
    given: Any
    declared: str
    copied: Any
    column: str = ""  # if it isn't `source`
    as_drivers_read_it: bool = True

    @property
    def type(self) -> str:
        found = re.search(r"type: (\w+)", self.declared)
        return found[1] if found else self.declared


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]  # year, month, day …


# `given` is SQL. BSON keeps milliseconds of a time.
MYSQL: Mapping[str, Case] = {
    "c_tinyint": Case("TINYINT", "-128", "integer", -128),
    "c_tinyint_unsigned": Case("TINYINT UNSIGNED", "255", "integer", 255),
    "c_bool": Case("TINYINT(1)", "1", "boolean", True),
    "c_smallint": Case("SMALLINT", "-32768", "integer", -32768),
    "c_smallint_unsigned": Case("SMALLINT UNSIGNED", "65535", "integer", 65535),
    "c_mediumint": Case("MEDIUMINT", "-8388608", "integer", -8388608),
    "c_mediumint_unsigned": Case("MEDIUMINT UNSIGNED", "16777215", "integer", 16777215),
    "c_int": Case("INT", "-2147483648", "integer", -2147483648),
    "c_int_unsigned": Case("INT UNSIGNED", "4294967295", "integer", 4294967295),
    "c_bigint": Case("BIGINT", "-9223372036854775808", "integer", -(2**63)),
    "c_beyond_doubles": Case("BIGINT", "9007199254740993", "integer", 2**53 + 1),
    "c_bigint_unsigned": Case("BIGINT UNSIGNED", "18446744073709551615", "unsigned", Decimal128(str(2**64 - 1))),
    "c_small_unsigned": Case("BIGINT UNSIGNED", "5", "unsigned", 5),
    "c_float": Case("FLOAT", "0.1", "number", 0.1),
    "c_double": Case("DOUBLE", "1.7976931348623157e308", "number", 1.7976931348623157e308),
    "c_decimal": Case("DECIMAL", "-12345.678", "decimal", Decimal128("-12345.67800"), "DECIMAL(20,5)"),
    "c_bit": Case("BIT(1)", "b'1'", "boolean", True),
    "c_bits": Case("BIT(n)", "b'100000000001'", "bits", 2049, "BIT(12)"),
    "c_all_bits": Case("BIT(n)", f"b'1{'0' * 62}1'", "bits", Decimal128(str(2**63 + 1)), "BIT(64)"),
    "c_char": Case("CHAR", "'ab'", "string", "ab", "CHAR(10)"),
    "c_varchar": Case("VARCHAR", "'naïve 日本語 𐍈 👩‍👧'", "string", "naïve 日本語 𐍈 👩‍👧", "VARCHAR(50)"),
    "c_tinytext": Case("TINYTEXT", "'é'", "text", "é"),
    "c_text": Case("TEXT", "'é'", "text", "é"),
    "c_mediumtext": Case("MEDIUMTEXT", "'é'", "text", "é"),
    "c_longtext": Case("LONGTEXT", "REPEAT('é', 70000)", "text", "é" * 70000),
    "c_uuid": Case("CHAR", f"'{UUID.upper()}'", "uuid", UUID, "CHAR(36)"),
    "c_binary": Case("BINARY", "x'00ff'", "binary", b"\x00\xff\x00\x00", "BINARY(4)"),
    "c_varbinary": Case("VARBINARY", "x'0001'", "binary", b"\x00\x01", "VARBINARY(9)"),
    "c_tinyblob": Case("TINYBLOB", "x'deadbeef'", "binary", b"\xde\xad\xbe\xef"),
    "c_blob": Case("BLOB", "x'deadbeef'", "binary", b"\xde\xad\xbe\xef"),
    "c_mediumblob": Case("MEDIUMBLOB", "x'deadbeef'", "binary", b"\xde\xad\xbe\xef"),
    "c_longblob": Case("LONGBLOB", "x'deadbeef'", "binary", b"\xde\xad\xbe\xef"),
    "c_date": Case("DATE", "'2026-11-24'", "date", "2026-11-24"),
    "c_first_date": Case("DATE", "'1000-01-01'", "date", "1000-01-01"),
    "c_last_date": Case("DATE", "'9999-12-31'", "date", "9999-12-31"),
    "c_date_as_moment": Case("DATE", "'2026-11-24'", "datetime", moment(2026, 11, 24)),
    "c_zero_date": Case("DATE", "'0000-00-00'", "date", None),
    "c_time": Case("TIME", "'13:14:15'", "time", "13:14:15"),
    "c_precise_time": Case("TIME", "'13:14:15.1234'", "time", "13:14:15.123400", "TIME(6)"),
    "c_long_time": Case("TIME", "'-838:59:59'", "time", None, as_drivers_read_it=False),
    "c_datetime": Case("DATETIME", "'2026-11-24 01:02:03'", "datetime", moment(2026, 11, 24, 1, 2, 3)),
    "c_old_datetime": Case("DATETIME", "'1000-01-01 00:00:00'", "datetime", moment(1000, 1, 1)),
    "c_year_1": Case("DATETIME", "'0001-01-01 00:00:00'", "datetime", moment(1, 1, 1)),
    "c_day_of_year_99": Case("DATE", "'0099-12-31'", "date", "0099-12-31"),
    "c_before_1970": Case("DATETIME", "'1969-12-31 23:59:59'", "datetime", moment(1969, 12, 31, 23, 59, 59)),
    "c_datetime_3": Case(
        "DATETIME(1…3)", "'2300-01-01 00:00:00.5'", "datetime", moment(2300, 1, 1, 0, 0, 0, 500000), "DATETIME(3)"
    ),
    "c_datetime_6": Case(
        "DATETIME(4…6)",
        "'2026-11-24 01:02:03.123456'",
        "datetime",
        moment(2026, 11, 24, 1, 2, 3, 123000),
        "DATETIME(6)",
    ),
    "c_last_datetime": Case(
        "DATETIME(4…6)",
        "'9999-12-31 23:59:59.999999'",
        "datetime",
        moment(9999, 12, 31, 23, 59, 59, 999000),
        "DATETIME(6)",
    ),
    "c_zero_datetime": Case("DATETIME", "'0000-00-00 00:00:00'", "datetime", None),
    "c_timestamp": Case(
        "TIMESTAMP", "'1970-01-01 00:00:01'", "datetime", moment(1970, 1, 1, 0, 0, 1), "TIMESTAMP NULL"
    ),
    "c_timestamp_6": Case(
        "TIMESTAMP",
        "'2038-01-19 03:14:07.999999'",
        "datetime",
        moment(2038, 1, 19, 3, 14, 7, 999000),
        "TIMESTAMP(6) NULL",
    ),
    "c_year": Case("YEAR", "2026", "integer", 2026),
    "c_enum": Case("ENUM", "'ü'", "string", "ü", "ENUM('a', 'ü')"),
    "c_set": Case("SET", "'x,z'", "string", "x,z", "SET('x', 'y', 'z')"),
    "c_json": Case(
        "JSON",
        """'{"a": [1, 2.5, 9007199254740993, null, "é"]}'""",
        "json_text",
        {"a": [1, 2.5, 9007199254740993, None, "é"]},
    ),
    "c_json_numbers": Case(
        "JSON",
        "JSON_OBJECT('decimal', CAST(12345678901234567890.123456789012 AS DECIMAL(40,12)), 'scale', CAST(1.10 AS "
        "DECIMAL(5,2)), 'unsigned', 18446744073709551615, 'signed', -9223372036854775808, 'doubles', "
        "CAST('[0.1, 1e308, 5e-324, -0.0, 1e22, 1e-4, 1e15]' AS JSON))",
        "json_text",
        {
            "decimal": Decimal128("12345678901234567890.123456789012"),
            "scale": 1.1,
            "unsigned": Decimal128("18446744073709551615"),
            "signed": -(2**63),
            "doubles": [0.1, 1e308, 5e-324, -0.0, 1e22, 1e-4, 10**15],
        },
        "JSON",
    ),
    "c_vector": Case("VECTOR", "STRING_TO_VECTOR('[1, 0.5]')", "json", [1.0, 0.5], "VECTOR(2)", False),
    # Null in every row but those that are there for it.
    "c_too_precise": Case("DECIMAL", "NULL", "decimal", None, "DECIMAL(65,30)"),
    "c_geometry": Case("GEOMETRY, POINT …", "NULL", "json", None, "GEOMETRY"),
}

# Rows of which the copy can't hold something: what it is, and why.
UNFIT_ROWS: Sequence[tuple[Mapping[str, str], str]] = (
    (
        {"c_too_precise": f"{'9' * 35}.{'9' * 30}"},
        "c_too_precise: a str that is no decimal: BSON has no decimals of so",
    ),
    ({"c_geometry": "ST_GeomFromText('POINT(1 2)')"}, "c_geometry: a dict that is no json: spatial"),
    ({"c_bool": "2"}, "c_bool: a int that is no boolean"),
    (
        {"c_json_numbers": f"JSON_ARRAY(CAST({'9' * 40} AS DECIMAL(40,0)))"},
        "c_json_numbers: a str that is no json_text: a number in it has more than 34 digits",
    ),
)

# `given` is a value of the driver. Numbers of JSON columns are read back as Python's.
BSON: Mapping[str, Case] = {
    "double_": Case("double", 0.1, "number", 0.1),
    "whole": Case("double", 5.0, "integer", 5),
    "huge": Case("double", 1e22, "number", 1e22),
    "int32": Case("int32", 7, "integer", 7),
    "int64": Case("int64", Int64(2**53 + 1), "integer", 2**53 + 1),
    "int64_max": Case("int64", Int64(2**63 - 1), "integer", 2**63 - 1),
    "int64_as_decimal": Case("int64", Int64(2**63 - 1), "{type: decimal, precision: 20, scale: 0}", Decimal(2**63 - 1)),
    "decimal128": Case(
        "decimal128", Decimal128("12345.670"), "{type: decimal, precision: 10, scale: 3}", Decimal("12345.670")
    ),
    "decimal_text": Case("decimal128", Decimal128("1E+3"), "json", "1E+3"),
    "date": Case(
        "date",
        moment(2026, 11, 24, 1, 2, 3, 123000),
        "datetime",
        datetime(2026, 11, 24, 1, 2, 3, 123000),  # noqa: DTZ001
    ),
    "before_1970": Case("date", moment(1900, 1, 1), "datetime", datetime(1900, 1, 1)),  # noqa: DTZ001
    "day": Case("date", moment(2026, 11, 24), "date", date(2026, 11, 24)),
    "object_id": Case("objectId", OID, "string", str(OID)),
    "binary_": Case("binData", b"\x00\x01", "binary", b"\x00\x01"),
    "short_binary": Case("binData", Binary(b"\x01" * 16, 5), "{type: binary, length: 16}", b"\x01" * 16),
    "uuid": Case("binData, subtype 4", Binary(bytes(range(16)), 4), "uuid", UUID),
    "uuid_text": Case("binData, subtype 4", Binary(bytes(range(16)), 4), "string", UUID),
    "true_": Case("bool", True, "boolean", 1),
    "null_": Case("null", None, "string", None),
    "filled": Case("null", None, "{type: string, default: nothing}", "nothing"),
    "string_": Case("string", "naïve 日本語 𐍈 👩‍👧", "string", "naïve 日本語 𐍈 👩‍👧"),
    "long_string": Case("string", "é" * 70000, "text", "é" * 70000),
    "clock": Case("string", "13:14:15.5", "time", "13:14:15.500000"),
    "array": Case("array", [1, "a", None, {"x": Int64(5)}], "json", [1, "a", None, {"x": 5}]),
    "document": Case("object", {"at": moment(2026, 11, 24)}, "json", {"at": "2026-11-24T00:00:00.000000Z"}),
    "regex": Case("regex", Regex("^a", "i"), "json", {"$regex": "^a", "$options": "i"}),
    "timestamp": Case("timestamp", Timestamp(1, 2), "json", {"$timestamp": {"t": 1, "i": 2}}),
    "min_key": Case("minKey", MinKey(), "json", {"$minKey": 1}),
    "max_key": Case("maxKey", MaxKey(), "json", {"$maxKey": 1}),
    "code": Case("javascript", Code("f()"), "json", {"$code": "f()"}),
    "scoped_code": Case("javascript", Code("f()", {"x": 1}), "json", {"$code": "f()", "$scope": {"x": 1}}),
    "reference": Case("dbPointer", DBRef("things", 5), "json", {"$ref": "things", "$id": 5}),
    "city": Case("object", {"address": {"city": "Łódź"}}, "{from: city.address.city, type: string}", "Łódź"),
    "user_name": Case("string", "Ada", "{from: [user.name], type: string}", "Ada"),
}

UNFIT_DOCUMENTS: Sequence[tuple[Mapping[str, Any], str]] = (
    ({"double_": float("nan")}, "not JSON"),
    ({"array": [float("-inf")]}, "not JSON"),
    ({"decimal128": Decimal128("NaN")}, "decimal128: a Decimal that is no decimal: it is not finite"),
    ({"decimal128": Decimal128("0.0001")}, "it has more than 3 digits after the point"),
    ({"int64_as_decimal": "many"}, "int64_as_decimal: a str that is no decimal"),
    ({"double_": Int64(2**53 + 1)}, "double_: a int that is no number: a double can't hold it exactly"),
    ({"city": "Łódź"}, "city: what should hold 'address' is a str and no document"),
    ({"day": moment(2026, 11, 24, 1)}, "day: a datetime that is no date: it has a time of day"),
    ({"short_binary": b"\x00" * 17}, "1406"),
    ({"string_": "é" * 256}, "1406"),
    ({"object_id": 5}, "object_id: a int that is no string"),
)


def declared_route(folder: Path, cases: Mapping[str, Case], *, topic: str, target: str, key: str) -> Route:
    fields = "".join(f"    {field}: {case.declared}\n" for field, case in cases.items())
    file = folder / "routes.yaml"
    file.write_text(f"everything:\n  topic: {topic}\n  target: {target}\n  key: {key}\n  fields:\n{fields}")
    (route,) = load_routes(file)
    return route


@dataclass(frozen=True)
class ConversionHarness:
    """Both databases, a broker, and a sync of one's own between them."""

    stack: Stack
    settings: Settings
    mysql: AsyncEngine
    mongo: "AsyncIOMotorClient[dict[str, Any]]"

    @property
    def copies_in_mongodb(self) -> Any:
        return self.mongo[self.settings.mongodb_url.get_secret_value().rpartition("/")[2].partition("?")[0]]

    async def dead_letters(self, topic: str) -> list[str]:
        return await reasons_of_dead_letters(self.settings.kafka_bootstrap_servers, topic)

    @asynccontextmanager
    async def syncing(self, route: Route) -> AsyncIterator[None]:
        runner = SyncRunner(self.settings, [route], SyncMetrics(registry := CollectorRegistry()), Supervisor(registry))
        task = asyncio.create_task(runner.run())
        try:
            yield
        finally:
            runner.stop()
            await task


@pytest.fixture
async def harness(
    stack: Stack, settings: Settings, database_url: str, engine: AsyncEngine
) -> AsyncIterator[ConversionHarness]:
    mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(database_url, tz_aware=True)
    harness = ConversionHarness(stack, settings, engine, mongo)
    yield harness
    await mongo.drop_database(harness.copies_in_mongodb)
    mongo.close()


def insert(table: str, row: Mapping[str, str]) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})"  # noqa: S608 - values of this file


@pytest.fixture
async def source_schema(mysql_root_url: str) -> AsyncIterator[str]:
    """A schema that Debezium may read, with a table of every type of column."""
    name = f"conversions_{secrets.token_hex(4)}"
    columns = ", ".join(f"{column} {case.column or case.source}" for column, case in MYSQL.items())
    engine = create_engine(mysql_root_url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
        await connection.exec_driver_sql(f"CREATE TABLE {name}.everything (id INT PRIMARY KEY, {columns})")
        await connection.execute(text(f"GRANT SELECT ON {name}.* TO 'debezium'@'%'"))
    yield name
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"DROP DATABASE {name}")
    await engine.dispose()


async def test_every_type_of_mysql_reaches_mongodb_by_snapshot_and_by_log(
    harness: ConversionHarness, source_schema: str, tmp_path: Path
) -> None:
    topic, table = f"{source_schema}.{source_schema}.everything", f"{source_schema}.everything"
    target = "{store: mongodb, collection: everything}"
    key = "{_id: {from: id, type: integer}}"
    route = declared_route(tmp_path, MYSQL, topic=topic, target=target, key=key)
    rows = [{column: case.given for column, case in MYSQL.items()}, {}, *(unfit_value for unfit_value, _ in UNFIT_ROWS)]

    async def insert_all(first_id: int) -> None:
        async with harness.mysql.begin() as connection:
            await connection.exec_driver_sql("SET sql_mode = ''")  # which refuses zero dates otherwise
            for number, row in enumerate(rows):
                await connection.exec_driver_sql(insert(table, {"id": str(first_id + number), **row}))

    async def copies() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await harness.copies_in_mongodb["everything"].find().sort("_id").to_list(None)
        return found

    async def reasons() -> list[str]:
        return await harness.dead_letters(topic)

    await insert_all(0)
    changed = of_own_tables(source_schema, table)
    async with (
        run_connector(harness.stack, "mysql-users", topics=[topic], changed=changed),
        harness.syncing(route),
    ):
        await eventually(copies, lambda found: [row["_id"] for row in found] == [0, 1])
        await insert_all(STREAMED)
        seen = await eventually(copies, lambda found: len(found) == 4)
        letters = await eventually(reasons, lambda found: len(found) == 2 * len(UNFIT_ROWS))

    wanted = {column: case.copied for column, case in MYSQL.items()}
    nothing = dict.fromkeys(MYSQL)
    assert seen == [
        {"_id": number, **row}
        for number, row in ((0, wanted), (1, nothing), (STREAMED, wanted), (STREAMED + 1, nothing))
    ]
    for _, reason in UNFIT_ROWS:
        assert sum(reason in letter for letter in letters) == 2, letters
    readable = [column for column, case in MYSQL.items() if case.as_drivers_read_it]
    async with harness.mysql.connect() as connection:
        look = f"SELECT {', '.join(readable)} FROM {table} WHERE id = 0"  # noqa: S608 - names of this file
        (row,) = await connection.execute(text(look))
    mapped = map_fields(route, {**nothing, **row._mapping})
    assert {column: stored(mapped[column]) for column in readable} == {column: wanted[column] for column in readable}


class OwnColumn(NamedTuple):
    """The type of the field, the column, and for each of two rows what is inserted and what is in the copy."""

    type: FieldType
    column: str
    values: tuple[str, Any]
    nulls: tuple[str, Any]


# The connector of docs/adding-a-route.md writes a DATE, a DATETIME and a TIME as numbers. A NULL stays one where the
# column has a default.
OWN: Mapping[str, OwnColumn] = {
    "day": OwnColumn("date", "DATE NOT NULL", ("'2026-11-24'", "2026-11-24"), ("'0001-01-01'", "0001-01-01")),
    "day_or_null": OwnColumn("date", "DATE", ("'1969-12-31'", "1969-12-31"), ("NULL", None)),
    "first_day": OwnColumn("date", "DATE DEFAULT '2001-01-01'", ("'1970-01-02'", "1970-01-02"), ("NULL", None)),
    "at": OwnColumn(
        "datetime",
        "DATETIME(6) NOT NULL",
        ("'0001-01-01 00:00:00.5'", moment(1, 1, 1, 0, 0, 0, 500000)),
        ("'0099-12-31 23:59:59.999999'", moment(99, 12, 31, 23, 59, 59, 999000)),
    ),
    "last_moment": OwnColumn(
        "datetime",
        "DATETIME DEFAULT '2001-01-01 00:00:00'",
        ("'9999-12-31 23:59:59'", moment(9999, 12, 31, 23, 59, 59)),
        ("NULL", None),
    ),
    "stamp": OwnColumn(
        "datetime",
        "TIMESTAMP(6) NOT NULL",
        ("'2038-01-19 03:14:07.999999'", moment(2038, 1, 19, 3, 14, 7, 999000)),
        ("'1970-01-01 00:00:01'", moment(1970, 1, 1, 0, 0, 1)),
    ),
    "now": OwnColumn(
        "datetime",
        "DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
        ("'2026-11-24 00:00:00'", moment(2026, 11, 24)),
        ("'1970-01-02 00:00:00'", moment(1970, 1, 2)),
    ),
    "duration": OwnColumn(
        "time", "TIME(6) NOT NULL DEFAULT '01:00:00'", ("'13:14:15.5'", "13:14:15.500000"), ("'24:00:00'", "24:00:00")
    ),
    "longest": OwnColumn("time", "TIME DEFAULT '01:00:00'", ("'-838:59:59'", "-838:59:59"), ("NULL", None)),
    "number": OwnColumn("integer", "INT DEFAULT 5", ("7", 7), ("NULL", None)),
    "name": OwnColumn("string", "VARCHAR(9) DEFAULT 'unnamed'", ("'Ada'", "Ada"), ("NULL", None)),
}
# A zero date in a column that is NOT NULL arrives as 1970, and is refused by the name of its field.
ZEROS: Mapping[str, tuple[str, str]] = {
    "day": ("'0000-00-00'", "day: a int that is no date: it is 1970-01-01, which Debezium writes for a zero date"),
    "at": (
        "'2026-00-10 01:02:03'",
        "at: a int that is no datetime: it is 1970-01-01, which Debezium writes for a zero date",
    ),
    "stamp": ("'0000-00-00 00:00:00'", "stamp: a str that is no datetime: it is 1970-01-01, which Debezium"),
    "now": ("'0000-00-00 00:00:00'", "now: a int that is no datetime: it is 1970-01-01, which Debezium"),
}


def own_connector() -> dict[str, str]:
    """The options of the source in MySQL of docs/adding-a-route.md."""
    page = (CONVERSIONS.parent / "adding-a-route.md").read_text()
    blocks = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    (sources,) = (block["sources"] for block in blocks if "sources" in block)
    options: dict[str, str] = sources["mysql-shop"]["options"]
    return options


async def test_nulls_times_and_days_of_an_own_table_are_copied_exactly_or_refused(
    harness: ConversionHarness, source_schema: str, tmp_path: Path
) -> None:
    topic, table = f"{source_schema}.{source_schema}.own", f"{source_schema}.own"
    fields = {name: Case("", "", column.type, None) for name, column in OWN.items()}
    target, key = "{store: mongodb, collection: own}", "{_id: {from: id, type: integer}}"
    route = declared_route(tmp_path, fields, topic=topic, target=target, key=key)
    rows = [
        {name: column.values[0] for name, column in OWN.items()},
        {name: column.nulls[0] for name, column in OWN.items()},
    ]
    rows += [{**rows[0], name: given} for name, (given, _) in ZEROS.items()]

    async def execute(*statements: str) -> None:
        async with harness.mysql.begin() as connection:
            for statement in ("SET sql_mode = ''", *statements):
                await connection.exec_driver_sql(statement)

    async def insert_all(first_id: int) -> None:
        await execute(*(insert(table, {"id": str(first_id + number), **row}) for number, row in enumerate(rows)))

    async def copies() -> dict[int, dict[str, Any]]:
        found = await harness.copies_in_mongodb["own"].find().to_list(None)
        return {row.pop("_id"): row for row in found}

    async def reasons() -> list[str]:
        return await harness.dead_letters(topic)

    columns = ", ".join(f"{name} {column.column}" for name, column in OWN.items())
    await execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, {columns})")
    await insert_all(0)
    changed = {**of_own_tables(source_schema, table), **own_connector()}
    async with (
        run_connector(harness.stack, "mysql-users", topics=[topic], changed=changed),
        harness.syncing(route),
    ):
        await eventually(copies, lambda found: found.keys() == {0, 1})
        await insert_all(STREAMED)
        seen = await eventually(copies, lambda found: len(found) == 4)
        letters = await eventually(reasons, lambda found: len(found) == 2 * len(ZEROS))
        # A route that does not know of the change would write NULL over good values.
        await execute(
            f"ALTER TABLE {table} RENAME COLUMN name TO title, DROP COLUMN number",
            f"UPDATE {table} SET day = '2026-12-24' WHERE id IN (0, {STREAMED})",  # noqa: S608 - a name of this file
        )
        changed_letters = await eventually(reasons, lambda found: len(found) == 2 * len(ZEROS) + 2)
        after_change = await copies()

    with_values = {name: column.values[1] for name, column in OWN.items()}
    with_nulls = {name: column.nulls[1] for name, column in OWN.items()}
    assert seen == {0: with_values, 1: with_nulls, STREAMED: with_values, STREAMED + 1: with_nulls}
    for _, reason in ZEROS.values():
        assert sum(reason in letter for letter in letters) == 2, letters
    missing = "number, name: the source row has no column number, name"
    assert sum(missing in letter for letter in changed_letters) == 2, changed_letters
    assert after_change == seen


def stored(value: Any) -> Any:
    """As MongoDB gives it back."""
    match value:
        case Decimal():
            return Decimal128(value)
        case datetime():
            return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return value


async def test_every_type_of_bson_reaches_mysql_by_snapshot_and_by_log(
    harness: ConversionHarness, tmp_path: Path
) -> None:
    name = f"conversions_{secrets.token_hex(4)}"
    topic = f"{name}.{name}.everything"
    target = f"{{store: mysql, table: {name}}}"
    key = "{id: {from: _id.number, type: integer}, kind: {from: _id.kind, type: string}}"
    route = declared_route(tmp_path, BSON, topic=topic, target=target, key=key)
    whole = {field: case.given for field, case in BSON.items()}
    whole["user.name"] = whole.pop("user_name")
    documents = [whole, {}, *(unfit_value for unfit_value, _ in UNFIT_DOCUMENTS)]
    source = harness.mongo[name]["everything"]

    async def insert_all(first: int) -> None:
        for number, document in enumerate(documents):
            await source.insert_one({"_id": {"number": first + number, "kind": "x"}, **document})

    async def copies() -> list[dict[str, Any]]:
        look = f"SELECT * FROM {name} ORDER BY id"  # noqa: S608 - a name of this file
        try:
            async with harness.mysql.connect() as connection:
                return [dict(row._mapping) for row in await connection.execute(text(look))]
        except ProgrammingError:  # it isn't there yet: the sync makes it
            return []

    async def reasons() -> list[str]:
        return await harness.dead_letters(topic)

    await insert_all(0)
    changed = {"topic.prefix": name, "capture.target": name, "collection.include.list": f"{name}.everything"}
    async with (
        run_connector(harness.stack, "mongodb-tweets", topics=[topic], changed=changed),
        harness.syncing(route),
    ):
        await eventually(copies, lambda found: [row["id"] for row in found] == [0, 1])
        await insert_all(STREAMED)
        seen = await eventually(copies, lambda found: len(found) == 4)
        letters = await eventually(reasons, lambda found: len(found) == 2 * len(UNFIT_DOCUMENTS))
    read = await source.find_one({"_id.number": 0})
    await harness.mongo.drop_database(name)

    wanted = {field: case.copied for field, case in BSON.items()}
    nothing = {**dict.fromkeys(BSON), "filled": "nothing"}
    assert [{field: loaded(BSON[field], row[field]) for field in BSON} for row in seen] == [
        wanted,
        nothing,
        wanted,
        nothing,
    ]
    assert [(row["id"], row["kind"]) for row in seen] == [(0, "x"), (1, "x"), (STREAMED, "x"), (STREAMED + 1, "x")]
    for _, reason in UNFIT_DOCUMENTS:
        assert sum(reason in letter for letter in letters) >= 2, (reason, letters)
    assert read is not None
    event = {field: as_event(case.given) for field, case in BSON.items() if field != "user_name"}
    from_driver, from_event = map_fields(route, read), map_fields(route, {**event, "user.name": "Ada"})
    assert dict(from_driver) == dict(from_event)


def as_event(value: Any) -> Any:
    """A value of a driver's as `decode` gives it."""
    return decode_document(json.loads(dumps(value, json_options=LEGACY_JSON_OPTIONS)))


def loaded(case: Case, value: Any) -> Any:
    """As Python has it: a JSON column comes as text, a TIME as a duration."""
    if value is None or isinstance(value, Decimal | date | datetime | bytes):
        return value
    if case.type == "json":
        return json.loads(value)
    return convert(value, "time") if case.type == "time" else value


def documented(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of docs/conversions.md, without Markdown's marks."""
    section = CONVERSIONS.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("heading", "cases"), [("From MySQL", MYSQL), ("From MongoDB", BSON)])
def test_documented_conversions_are_the_tested_ones(heading: str, cases: Mapping[str, Case]) -> None:
    said = {(source, type_) for source, _, types, *_ in documented(heading) for type_ in types.split(", ")}
    assert {(case.source, case.type) for case in cases.values()} == said


def test_every_field_type_is_documented_with_its_column() -> None:
    rows = documented("The types of fields")
    assert [row[0] for row in rows] == list(get_args(FieldType))
    for type_, _, column, *_ in rows:
        (route,) = [
            Route.model_validate(
                {
                    "name": "x",
                    "topic": "x",
                    "target": {"store": "mysql", "table": "x"},
                    "key": {"id": "integer"},
                    "fields": {"x": type_},
                }
            )
        ]
        assert column_type(route.fields["x"]) == column


def test_zero_with_an_exponent_is_written_with_one_digit() -> None:
    """Not with a quarter of a billion."""
    assert str(limited_decimal(10, 2).convert("0e-250000000")) == "0"
    assert str(limited_decimal(10, 2).convert(Decimal128("0E-6176"))) == "0"
