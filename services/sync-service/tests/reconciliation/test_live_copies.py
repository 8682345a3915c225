"""On a copy that the live flow made, a comparison finds nothing, and a repair changes nothing.

The rows have values of every type, among them its extremes and random ones. Debezium takes them from the real source,
in a snapshot and from the log. Keys of every type have tables and collections of their own.
"""

import asyncio
import json
import random
import secrets
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.background import Supervisor
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine
from support.connector import of_own_tables, reasons_of_dead_letters, run_connector
from support.polling import eventually
from sync_service.metrics import SyncMetrics
from sync_service.reconciliation.compare import Comparison, ComparisonOptions
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.runner import SyncRunner
from sync_service.settings import Settings
from sync_service.sinks.comparison_target import open_target

# The same values in every run: a failure can be repeated.
RANDOM = random.Random(16)  # noqa: S311 - test data
ROWS = 40
STREAMED = 1000  # added to the number of a row that is written while the connector runs
SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")


def randomly(make: Callable[[], Any], count: int = 12) -> list[Any]:
    return [make() for _ in range(count)]


def any_double() -> float:
    while True:
        (number,) = struct.unpack("<d", RANDOM.randbytes(8))
        if number - number == 0:
            return float(number)


def any_text(most: int = 12) -> str:
    return "".join(RANDOM.choice("aAé ß\u0301😀𝒳\\'\"%\n\t-:,") for _ in range(RANDOM.randrange(most + 1)))


def quoted(value: Any) -> str:
    """A literal of SQL."""
    match value:
        case bytes():
            return f"x'{value.hex()}'"
        case str():
            return f"CONVERT(x'{value.encode().hex()}' USING utf8mb4)" if value else "''"
    return str(value)


def moments(digits: int) -> list[str]:
    def one() -> str:
        moment = datetime(1000, 1, 1, tzinfo=UTC) + timedelta(
            days=RANDOM.randrange(3_000_000), microseconds=RANDOM.randrange(86_400 * 10**6)
        )
        return f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"

    last = f".{'9' * digits}" if digits else ""
    return [
        "'1000-01-01 00:00:00'",
        f"'9999-12-31 23:59:59{last}'",
        "'1969-12-31 23:59:59'",
        "'1970-01-01 00:00:00'",
        "'0000-00-00 00:00:00'",
        "'2026-01-01 00:00:00.12'",
        "'2026-01-01 00:00:00.000001'",
        *randomly(one),
    ]


DOUBLES = ["0", "-0.0", "5e-324", "1.7976931348623157e308", "1e15", "1e16", "123456789012345680000", "0.1", "-1e-7"]
INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}
DAYS = ["'1000-01-01'", "'9999-12-31'", "'1970-01-01'", "'0000-00-00'", "'2026-00-00'", "'2026-02-00'", "'2026-02-28'"]
TIMES = ["'00:00:00'", "'23:59:59'", "'13:14:15'", "'13:14:15.5'"]
JSON_TEXTS = [
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"null"',
    "5",
    "-0.0",
    "1e-22",
    "0.1",
    "9007199254740993",
    "[1, 2.0, 1e-7]",
    "[1e22, 1e15, 5e-324, 1.7976931348623157e308, -123456789012345680000.0]",
    '{"unsigned": 18446744073709551615, "signed": -9223372036854775808}',
    '{"zz": 1, "a": {"b": [null, "é", "\\u2028"]}, "": 3, "a.b": 1, "$set": {"$oid": "zz"}}',
    '{"$date": "mine"}',
]
JSON_DECIMALS = [
    "JSON_ARRAY(CAST(12345678901234567890.12345678901234 AS DECIMAL(40, 14)))",
    "JSON_OBJECT('scale', CAST(1.10 AS DECIMAL(5, 2)), 'small', CAST(0.0000001 AS DECIMAL(9, 7)))",
    "JSON_OBJECT('whole', CAST(-123456789012345678901234567890 AS DECIMAL(40, 0)), 'double', 1e22)",
]
TEXTS = ["", "a", "A", "a ", " a", "é", "e\u0301", "😀", "\0", "a\0b", "null", "-", "'\"\\%s%%", "x" * 80]

# By column: its type, the type of the field, and values in SQL.
Columns = Mapping[str, tuple[str, str, Sequence[str]]]
COLUMNS: Columns = {
    **{
        f"{kind.lower()}_{'unsigned' * unsigned}": (
            f"{kind}{' UNSIGNED' * unsigned}",
            "unsigned" if (kind, unsigned) == ("BIGINT", True) else "integer",
            [str(low), str(high), "0", *randomly(lambda low=low, high=high: str(RANDOM.randint(low, high)))],
        )
        for kind, bits in INTEGERS.items()
        for unsigned in (False, True)
        for low, high in [(0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)]
    },
    "boolean_": ("TINYINT(1)", "boolean", ["0", "1"]),
    "float_": (
        "FLOAT",
        "number",
        [
            "0.1",
            "3.4028235e38",
            "1.1754944e-38",
            "1234567.5",
            "0.1000005",
            "16777217",
            "-0.0",
            *randomly(lambda: repr(RANDOM.uniform(-1e6, 1e6)), 60),
        ],
    ),
    "float_as_decimal": ("FLOAT", "decimal", ["0.1", "1234567.5", *randomly(lambda: repr(RANDOM.uniform(-1e6, 1e6)))]),
    "double_": ("DOUBLE", "number", [*DOUBLES, *randomly(lambda: repr(any_double()), 60)]),
    "decimal_": (
        "DECIMAL(34,10)",
        "decimal",
        [
            "0",
            f"{'9' * 24}.{'9' * 10}",
            "-0.0000000001",
            "1.5",
            "1e3",
            *randomly(lambda: f"{RANDOM.randint(-(10**24), 10**24)}.{RANDOM.randrange(10**10)}"),
        ],
    ),
    "decimal_as_text": ("DECIMAL(65,30)", "string", [f"-{'9' * 35}.{'9' * 30}", "0", "1.5", "1e-30", "100"]),
    "bit_": ("BIT(1)", "boolean", ["b'0'", "b'1'"]),
    "bits": ("BIT(12)", "bits", ["0", "4095", "1", "2049"]),
    "all_bits": ("BIT(64)", "bits", ["0", str(2**64 - 1), str(2**63), str(2**63 - 1), "1"]),
    "bits_as_text": ("BIT(12)", "string", ["0", "4095", "1"]),
    "bits_as_bytes": ("BIT(12)", "binary", ["0", "4095", "1"]),
    "char_": ("CHAR(90)", "string", [quoted(each) for each in TEXTS]),
    "varchar_": ("VARCHAR(90)", "string", [quoted(each) for each in [*TEXTS, *randomly(any_text)]]),
    "latin": ("VARCHAR(90) CHARACTER SET latin1", "string", ["'é'", "'naïve'", "''", "'a '"]),
    "text_": ("TEXT", "text", [quoted(each) for each in [*TEXTS, *randomly(any_text)]]),
    "long_": ("LONGTEXT", "text", ["REPEAT('é', 70000)", "''"]),
    "uuid_": ("CHAR(36)", "uuid", [f"'{SOME_UUID}'", f"'{str(SOME_UUID).upper()}'", f"'{UUID(int=0)}'"]),
    "enum_": ("ENUM('a', 'ü', '')", "string", ["'a'", "'ü'", "''"]),
    "set_": ("SET('x', 'y', 'z')", "string", ["'x,z'", "''", "'x,y,z'"]),
    "binary_": ("BINARY(4)", "binary", ["x''", "x'00ff'", "x'ffffffff'"]),
    "varbinary_": (
        "VARBINARY(90)",
        "binary",
        ["x''", "x'00'", "x'ff00'", *[quoted(each) for each in randomly(lambda: RANDOM.randbytes(9))]],
    ),
    "blob_": ("BLOB", "binary", ["x''", "x'00'", "REPEAT('x', 60000)"]),
    "binary_as_text": ("VARBINARY(90)", "string", ["x''", "x'00ff'"]),
    "date_": ("DATE", "{type: date, zero_dates: false}", DAYS),
    "date_as_moment": ("DATE", "{type: datetime, zero_dates: false}", DAYS),
    "date_as_text": ("DATE", "string", DAYS),
    "time_": ("TIME", "time", TIMES),
    "time_6": ("TIME(6)", "time", [*TIMES, "'13:14:15.123456'", "'13:14:15.12'", "'00:00:00.000001'"]),
    "time_as_text": ("TIME(6)", "string", [*TIMES, "'13:14:15.123456'", "'13:14:15.12'"]),
    **{
        f"datetime_{digits}": (f"DATETIME({digits})", "{type: datetime, zero_dates: false}", moments(digits))
        for digits in (0, 1, 3, 6)
    },
    "datetime_as_text": ("DATETIME(6)", "string", moments(6)),
    "datetime_0_as_text": ("DATETIME", "string", moments(0)),
    "timestamp_": (
        "TIMESTAMP(6) NULL",
        "datetime",
        ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'", "'2026-01-01 00:00:00.5'"],
    ),
    "timestamp_as_text": (
        "TIMESTAMP(6) NULL",
        "string",
        ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'", "'2026-01-01 00:00:00.5'"],
    ),
    "year_": ("YEAR", "integer", ["1901", "2155", "2026"]),
    "json_": ("JSON", "json_text", [quoted(each) for each in JSON_TEXTS]),
    "json_as_text": ("JSON", "string", [quoted(each) for each in JSON_TEXTS]),
    "json_as_json": ("JSON", "json", [quoted(each) for each in JSON_TEXTS]),
    "json_decimals": ("JSON", "json_text", JSON_DECIMALS),
    "json_decimals_as_text": ("JSON", "string", JSON_DECIMALS),
    "vector_": (
        "VECTOR(2)",
        "json",
        [
            "STRING_TO_VECTOR('[1, 0.5]')",
            "STRING_TO_VECTOR('[0.1, -1234567.5]')",
            "STRING_TO_VECTOR('[3.4e38, 1e-30]')",
        ],
    ),
    "defaulted": ("VARCHAR(9)", "{type: string, default: none}", ["'x'"]),
    "constant": ("", "{constant: 5}", []),
}
# What the copy can't hold: rows of their own, which are dead letters.
UNFIT_COLUMNS = {
    "decimal_as_decimal": ("DECIMAL(65,30)", "decimal", [f"{'9' * 35}.{'9' * 30}"]),
    "geometry_": ("GEOMETRY", "json", ["ST_GeomFromText('POINT(1 2)')"]),
    "not_boolean": ("TINYINT(1)", "boolean", ["2"]),
    "binary_as_uuid": ("BINARY(16)", "uuid", ["x'00112233445566778899aabbccddeeff'"]),
    "integer_as_text": ("INT", "string", ["5"]),
    "day_1970": ("DATE", "date", ["'1970-01-01'"]),
    "moment_1970": ("DATETIME(6)", "datetime", ["'1970-01-01 00:00:00'"]),
    "json_decimal": ("JSON", "json_text", [f"JSON_ARRAY(CAST({'9' * 40} AS DECIMAL(40, 0)))"]),
}
# Zero dates of columns that are NOT NULL: Debezium writes 1970-01-01, which is refused, or another default, which is
# copied. No repair changes either.
ZERO_DATES: Columns = {
    "day": ("DATE NOT NULL", "date", ["'0000-00-00'", "'2026-00-10'"]),
    "at": ("DATETIME(6) NOT NULL", "datetime", ["'0000-00-00 00:00:00'", "'2026-01-00 01:02:03'"]),
    "stamp": ("TIMESTAMP(6) NOT NULL", "datetime", ["'0000-00-00 00:00:00'"]),
    "now": ("TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)", "datetime", ["'0000-00-00 00:00:00'"]),
    "with_default": ("DATE NOT NULL DEFAULT '2001-01-01'", "date", ["'0000-00-00'"]),
}
A_DAY = "'2026-11-24'"
# Tables with a key of each type. Of a key of two parts, all pairs are taken.
KEYS: Mapping[str, Columns] = {
    "k_varchar": {
        "_id": (
            "VARCHAR(90) COLLATE utf8mb4_0900_ai_ci",
            "string",
            [quoted(each) for each in TEXTS if each not in ("A", "a ", "e\u0301", "\0", "a\0b")],
        )
    },
    "k_binary_collation": {"_id": ("VARCHAR(90) COLLATE utf8mb4_0900_bin", "string", [quoted(each) for each in TEXTS])},
    "k_char": {"_id": ("CHAR(90) COLLATE utf8mb4_bin", "string", ["'a'", "'A'", "''", "'é'"])},
    "k_enum": {"_id": ("ENUM('b', 'a', 'ü')", "string", ["'a'", "'b'", "'ü'"])},
    "k_integer": {"_id": ("BIGINT", "integer", [str(-(2**63)), "0", "5", str(2**63 - 1)])},
    "k_unsigned": {"_id": ("BIGINT UNSIGNED", "unsigned", ["0", str(2**63 - 1), str(2**63), str(2**64 - 1)])},
    "k_decimal": {"_id": ("DECIMAL(20,6)", "decimal", ["1", "1.1", "-99999999999999.999999", "0.000001", "10", "9"])},
    "k_decimal_as_text": {"_id": ("DECIMAL(20,6)", "string", ["1", "1.1", "-99999999999999.999999", "10", "9"])},
    "k_double": {"_id": ("DOUBLE", "number", ["0.1", "-1", "1e300", "5e-324", "10", "9"])},
    "k_boolean": {"_id": ("TINYINT(1)", "boolean", ["0", "1"])},
    "k_binary": {"_id": ("BINARY(4)", "binary", ["x'00'", "x'01'", "x'ffffffff'"])},
    "k_varbinary": {"_id": ("VARBINARY(9)", "binary", ["x''", "x'00'", "x'0000'", "x'ff'", "x'0102030405'"])},
    "k_uuid": {
        "_id": ("CHAR(36)", "uuid", [f"'{str(SOME_UUID).upper()}'", f"'{UUID(int=0)}'", f"'{UUID(int=2**127)}'"])
    },
    "k_date": {"_id": ("DATE", "date", ["'1000-01-01'", "'2026-02-28'", "'9999-12-31'"])},
    "k_time": {"_id": ("TIME(6)", "time", ["'00:00:00'", "'13:14:15'", "'13:14:15.000001'", "'23:59:59.999999'"])},
    "k_datetime": {
        "_id": ("DATETIME(3)", "datetime", ["'1000-01-01'", "'2026-01-01 00:00:00.123'", "'2026-01-01 00:00:00.124'"])
    },
    "k_cut": {
        "_id": ("DATETIME(6)", "datetime", [f"'2026-01-01 00:00:00.{us}'" for us in (123000, 123001, 123999, 124000)])
    },
    "k_datetime_as_text": {
        "_id": ("DATETIME(6)", "string", [f"'2026-01-01 00:00:00.{us}'" for us in (123000, 123001, 123999, 124000)])
    },
    "k_timestamp": {"_id": ("TIMESTAMP(3)", "datetime", ["'1970-01-01 00:00:01'", "'2026-01-01 00:00:00.124'"])},
    "k_two": {
        "k": ("VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", "string", ["'a'", "'é1'", "'B'"]),
        "n": ("BIGINT UNSIGNED", "unsigned", ["0", str(2**64 - 1)]),
    },
    "k_two_decimals": {
        "d": ("DECIMAL(10,2)", "decimal", ["1", "1.5", "10"]),
        "at": ("DATETIME(3)", "datetime", ["'1000-01-01'", "'2026-01-01 00:00:00.123'"]),
    },
}
# Rows that the key refuses.
UNFIT_KEYS = {"k_cut": 2}


@dataclass(frozen=True)
class Copies:
    """Both stores, and the routes of a test between them."""

    settings: Settings
    engine: AsyncEngine
    mongo: "AsyncIOMotorClient[dict[str, Any]]"
    routes: Sequence[Route]

    async def compare(self, route: Route, *, repair: bool = False) -> RouteReport:
        target = await open_target(route, self.engine, self.mongo)
        group = self.settings.sync_group_id
        async with TopicProgress(KafkaClients.of(self.settings), route.topic, group, patience=30) as topic:
            options = ComparisonOptions(repair=repair, max_repairs=10_000, rows_in_a_range=3)
            return await Comparison(route, target, topic, options).run()

    async def reasons(self, route: Route) -> set[str]:
        """Why events are dead letters, to explain a failure of the test."""
        return set(await reasons_of_dead_letters(self.settings.kafka_bootstrap_servers, route.topic))

    async def content(self, route: Route) -> str:
        """Everything that is stored, versions included."""
        if route.target.store == "mongodb":
            documents = self.mongo.get_default_database()[route.target.copy_name].find().sort("_id")
            return "\n".join([repr(document) async for document in documents])
        async with self.engine.connect() as connection:
            rows = await connection.execute(text(f"SELECT * FROM `{route.target.copy_name}`"))  # noqa: S608 - names of ours
            return "\n".join(sorted(map(repr, rows)))

    @asynccontextmanager
    async def syncing(self) -> AsyncIterator[None]:
        registry = CollectorRegistry()
        runner = SyncRunner(self.settings, self.routes, SyncMetrics(registry), Supervisor(registry))
        task = asyncio.create_task(runner.run())
        try:
            yield
        finally:
            runner.stop()
            await task

    async def assert_that_nothing_differs(self, unfit: Mapping[str, int]) -> None:
        """Wait for the live flow, and then repair, which must change nothing."""

        # Each comparison uses two connections of the engine's ten.
        limit = asyncio.Semaphore(4)

        async def compare(route: Route) -> tuple[int, ...]:
            async with limit:
                return counted(await self.compare(route))

        async def reports() -> list[tuple[int, ...]]:
            return await asyncio.gather(*map(compare, self.routes))

        wanted = [(0, 0, 0, 0, 0, unfit.get(route.name, 0)) for route in self.routes]
        # What is wrong is reported below.
        with suppress(AssertionError):
            await eventually(reports, lambda seen: seen == wanted)
        wrong = {}

        async def repair(route: Route, counts: tuple[int, ...]) -> None:
            async with limit:
                before = await self.content(route)
                seen = await self.compare(route, repair=True)
                if counted(seen) != counts or await self.content(route) != before:
                    examples = [example.as_json() for example in seen.examples]
                    wrong[route.name] = (counted(seen), counts, examples, await self.reasons(route))
                assert seen.rows

        await asyncio.gather(*map(repair, self.routes, wanted))
        assert not wrong, "\n".join(f"{route}: {what}" for route, what in wrong.items())


def counted(report: RouteReport) -> tuple[int, ...]:
    return report.missing, report.extra, report.different, report.unsettled, report.mended, report.unfit


@pytest.fixture
async def stores(
    settings: Settings, database_url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Settings, AsyncEngine, "AsyncIOMotorClient[dict[str, Any]]"]]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(database_url, tz_aware=True)
    tolerant = settings.model_copy(
        update={"sync_dead_letters_max_consecutive": 1000, "sync_dead_letters_max_ratio": 1.0}
    )
    monkeypatch.setattr("sync_service.reconciliation.reports.EXAMPLES_KEPT", 1000)
    yield tolerant, engine, client
    await client.drop_database(client.get_default_database().name)
    client.close()


def declared(value: str) -> Any:
    """`{type: string, default: none}`, as YAML has it."""
    if not value.startswith("{"):
        return value
    parts = (part.split(":") for part in value.strip("{}").split(","))
    options = {name.strip(): each.strip() for name, each in parts}
    return {name: {"false": False}.get(each, each) for name, each in options.items()}


def pairs(columns: Columns) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = [{}]
    for name, (_, _, values) in columns.items():
        rows = [{**row, name: value} for row in rows for value in values]
    return rows


@pytest.fixture
async def schema(mysql_root_url: str) -> AsyncIterator[str]:
    name = f"live_{secrets.token_hex(4)}"
    stored = {column: kind for column, (kind, _, _) in {**COLUMNS, **UNFIT_COLUMNS}.items() if kind}
    engine = create_engine(mysql_root_url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
        columns = ", ".join(f"{column} {kind}" for column, kind in stored.items())
        await connection.exec_driver_sql(f"CREATE TABLE {name}.everything (id INT PRIMARY KEY, {columns})")
        zero_dates = ", ".join(f"{column} {kind}" for column, (kind, _, _) in ZERO_DATES.items())
        await connection.exec_driver_sql(f"CREATE TABLE {name}.zero_dates (id INT PRIMARY KEY, {zero_dates})")
        for table, key in KEYS.items():
            parts = ", ".join(f"{column} {kind} NOT NULL" for column, (kind, _, _) in key.items())
            await connection.exec_driver_sql(
                f"CREATE TABLE {name}.{table} ({parts}, v INT, PRIMARY KEY ({', '.join(key)}))"
            )
        await connection.execute(text(f"GRANT SELECT ON {name}.* TO 'debezium'@'%'"))
    yield name
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"DROP DATABASE {name}")
    await engine.dispose()


def rows_of_everything() -> list[dict[str, str]]:
    """Rows with all columns, in which every value occurs; one of nulls; and one for each value that does not fit."""
    columns = {name: values for name, (kind, _, values) in COLUMNS.items() if kind}
    count = max(ROWS, *map(len, columns.values()))
    rows = [{name: values[number % len(values)] for name, values in columns.items()} for number in range(count)]
    return [*rows, {}, *({name: value} for name, (_, _, values) in UNFIT_COLUMNS.items() for value in values)]


def rows_of_zero_dates() -> list[dict[str, str]]:
    good = dict.fromkeys(ZERO_DATES, A_DAY)
    return [good, *({**good, name: value} for name, (_, _, values) in ZERO_DATES.items() for value in values)]


def from_mysql(schema: str) -> list[Route]:
    fields = {name: declared(kind) for name, (_, kind, _) in {**COLUMNS, **UNFIT_COLUMNS}.items()}
    by_id = {"_id": {"from": "id", "type": "integer"}}
    routes = [
        ("everything", by_id, fields),
        ("zero_dates", by_id, {name: kind for name, (_, kind, _) in ZERO_DATES.items()}),
    ]
    routes += [
        (table, {name: kind for name, (_, kind, _) in key.items()}, {"v": "integer"}) for table, key in KEYS.items()
    ]
    return [
        Route.model_validate(
            {
                "name": name,
                "topic": f"{schema}.{schema}.{name}",
                "target": {"store": "mongodb", "collection": name},
                "key": key,
                "fields": copied,
            }
        )
        for name, key, copied in routes
    ]


async def test_nothing_differs_between_mysql_and_a_copy_in_mongodb(
    stack: Stack,
    stores: tuple[Settings, AsyncEngine, "AsyncIOMotorClient[dict[str, Any]]"],
    schema: str,
) -> None:
    settings, engine, client = stores
    copies = Copies(settings, engine, client, from_mysql(schema))

    async def insert(first: int) -> None:
        """In the snapshot, keys are even rows of their list; afterwards the others come."""
        async with engine.begin() as connection:
            await connection.exec_driver_sql("SET sql_mode = ''")  # which refuses zero dates otherwise
            for number, row in enumerate(rows_of_everything(), first):
                await put(connection, "everything", {"id": str(number), **row})
            for number, row in enumerate(rows_of_zero_dates(), first):
                await put(connection, "zero_dates", {"id": str(number), **row})
            for table, key in KEYS.items():
                for number, row in enumerate(pairs(key)):
                    if number % 2 == (first > 0):
                        await put(connection, table, {**row, "v": str(number)})
            await connection.exec_driver_sql("SET sql_mode = DEFAULT")

    async def put(connection: Any, table: str, row: Mapping[str, str]) -> None:
        names, values = ", ".join(row), ", ".join(row.values()).replace("%", "%%")
        await connection.exec_driver_sql(f"INSERT INTO {schema}.{table} ({names}) VALUES ({values})")  # noqa: S608 - ours

    await insert(0)
    changed = of_own_tables(schema, f"{schema}[.].*")
    topics = [route.topic for route in copies.routes]
    unfit = {
        "everything": 2 * sum(len(values) for _, _, values in UNFIT_COLUMNS.values()),
        "zero_dates": 2 * (len(rows_of_zero_dates()) - 1),
        **UNFIT_KEYS,
    }
    async with run_connector(stack, "mysql-users", topics=topics, changed=changed), copies.syncing():
        everything = client.get_default_database()["everything_copy"]
        await eventually(everything.estimated_document_count, lambda count: count > ROWS)
        await insert(STREAMED)
        await copies.assert_that_nothing_differs(unfit)


def other(value: Any) -> Any:
    """Another value of the same type."""
    return next(change(value) for kind, change in OTHERS if isinstance(value, kind))


# The order matters: a bool is an int, and a datetime is a date.
OTHERS: Sequence[tuple[type, Callable[[Any], Any]]] = (
    (bool, lambda value: not value),
    (int, lambda value: value - 1 if value > 0 else value + 1),
    (float, lambda value: value / 2 if value else 1.0),
    (str, lambda value: f"{value[:-1]}{'y' if value.endswith('x') else 'x'}"),
    (bytes, lambda value: value + b"x"),
    (date, lambda value: value + timedelta(days=1) if value.year < 9999 else value - timedelta(days=1)),
    (Decimal128, lambda value: Decimal128("6" if value.to_decimal() == 5 else "5")),
    (Decimal, lambda value: value + 1 if value < 0 else value - 1),
    (timedelta, lambda value: value + timedelta(seconds=1)),
    (list, lambda value: [*value, 1]),
    (dict, lambda value: {**value, "other": 1}),
)


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = {"d": value}
    return value


# By field: how it is declared, and values.
FIELDS: Mapping[str, tuple[Any, Sequence[Any]]] = {
    "s": ("string", ["", "x", "x  ", "é" * 255, "a\0b", "😀" * 100, ObjectId("5f" * 12), Binary.from_uuid(SOME_UUID)]),
    "t": ("text", ["", "\0", "𝒳\u2028\ufffd\uffff", "x" * 70_000, *randomly(any_text)]),
    "i": ("integer", [0, Int64(2**63 - 1), Int64(-(2**63)), 5.0, 1e18, -0.0, 3]),
    "u": ("unsigned", [0, Int64(2**63 - 1), Int64(-1), Decimal128(str(2**64 - 1))]),
    "n": (
        "number",
        [
            1.5,
            -0.0,
            5e-324,
            1.7976931348623157e308,
            Int64(2**53),
            Decimal128("0.1"),
            1e15,
            1e16,
            *randomly(any_double, 40),
        ],
    ),
    "dec": (
        "decimal",
        [
            Decimal128("1.25"),
            Decimal128("9" * 34),
            Decimal128("1E-30"),
            Decimal128("-0.00"),
            Decimal128("1E+2"),
            0.1,
            Int64(2**63 - 1),
            "1.50",
        ],
    ),
    "dec2": (
        {"type": "decimal", "precision": 10, "scale": 2},
        [Decimal128("1.25"), Decimal128("1E+2"), Decimal128("-0.00"), 99999999.99],
    ),
    "bo": ("boolean", [True, False, 1, 0, 1.0]),
    "at": (
        "datetime",
        [
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 1000, tzinfo=UTC),
            "2026-01-01T00:00:00Z",
        ],
    ),
    "day": ("date", [datetime(2026, 1, 1, tzinfo=UTC), datetime(1000, 1, 1, tzinfo=UTC), "2026-01-01"]),
    "tim": (
        "time",
        ["01:02:03", "24:00:00", "838:59:59", "-01:00:00", "-00:00:00", "001:00:00", "13:14:15.5", "13:14:15.123456Z"],
    ),
    "uid": ("uuid", [Binary.from_uuid(SOME_UUID), str(SOME_UUID).upper(), Binary(SOME_UUID.bytes, 3), SOME_UUID.bytes]),
    "bin": (
        "binary",
        [b"", b"\0\xff", Binary(SOME_UUID.bytes, 3), Binary.from_uuid(SOME_UUID), Binary(b"x", 128), "AAE="],
    ),
    "bits": ("bits", [0, 5, Int64(2**63 - 1)]),
    "j": (
        "json",
        [
            {},
            [],
            5,
            5.0,
            "null",
            False,
            -0.0,
            1e15,
            1e16,
            [1e308, 0.1, -0.0, 1e22, 5.0, 1e-7, 123456789012345680000.0],
            {"x": Int64(2**63 - 1), "y": Int64(-(2**63)), "z": 2**53 + 1},
            {"d": Decimal128("1.10"), "nan": Decimal128("NaN")},
            {"a.b": 1, "$set": 2, "": 3},
            {"A": 1, "a": 2},
            {"zz": 1, "a": 2, "b": 3},
            {"x": {"$date": "my own"}},
            {"x": {"$oid": "zz", "more": 1}},
            {"x": {"$binary": "!!"}},
            {"x": {"$numberLong": 12}},
            {"$uuid": 5},
            {
                "re": Regex("a.*b", "im"),
                "ts": Timestamp(5, 6),
                "min": MinKey(),
                "max": MaxKey(),
                "code": Code("f()"),
                "scoped": Code("f()", {"x": 1}),
                "oid": ObjectId("5f" * 12),
                "uuid": Binary.from_uuid(SOME_UUID),
                "bin": b"ab",
                "md5": Binary(b"x" * 16, 5),
                "short": Binary(b"x", 4),
                "date": datetime(2026, 1, 1, tzinfo=UTC),
                "ref": DBRef("c", 1),
            },
            {"far": DatetimeMS(2**55), "before": DatetimeMS(-(2**55))},
            nested(90),
            {"many": {f"k{number}": number for number in range(500)}},
            *randomly(any_double, 30),
            *randomly(lambda: {any_text(4): any_text()}),
        ],
    ),
    "dotted": ({"from": ["a.b", "c.d"], "type": "string"}, ["dotted"]),
    "dollar": ({"from": ["$x"], "type": "string"}, ["dollar"]),
    "unnamed": ({"from": ["a", "b.c"], "type": "string"}, ["below"]),
    "deep": ({"from": "l1.l2.l3", "type": "string"}, ["deep"]),
    "filled": ({"type": "string", "default": "none"}, [None, "x"]),
    "constant": ({"constant": {"a": [1.5]}}, []),
}
# Where the values of some fields lie in the document.
PLACES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "dotted": lambda value: {"a.b": {"c.d": value}},
    "dollar": lambda value: {"$x": value},
    "unnamed": lambda value: {"a": {"b.c": value}},
    "deep": lambda value: {"l1": {"l2": {"l3": value}}},
}
# Documents that a table can't hold.
UNFIT_DOCUMENTS: Sequence[dict[str, Any]] = (
    {"n": float("inf")},
    {"dec": Decimal128("NaN")},
    {"dec": Decimal128("1E+40")},
    {"dec2": Decimal128("1.234")},
    {"i": 5.5},
    {"i": "5"},
    {"u": "5"},
    {"s": 5},
    {"s": {"a": 1}},
    {"s": Code("f()")},
    {"bo": 2},
    {"bo": "true"},
    {"at": Timestamp(1, 1)},
    {"at": DatetimeMS(2**55)},
    {"day": datetime(2026, 1, 1, 1, tzinfo=UTC)},
    {"tim": "1:2:3"},
    {"uid": "nope"},
    {"l1": "no document"},
    {"l1": [{"l2": 1}]},
)
# Documents that an event has as values of other types: they are copied so, and a comparison says that it can't know.
AMBIGUOUS: Sequence[dict[str, Any]] = (
    {"j": {"x": {"$numberLong": "12"}}},
    {"j": [{"$oid": "5f" * 12}]},
    {"j": {"$date": 5}},
)
OID, ID_UUID = ObjectId("5f" * 12), UUID(int=7)
# By collection: its key, the ids of its documents, and how many keys are reported as refused (one for all second ids).
IDS: Mapping[str, tuple[Mapping[str, Any], Sequence[Any], int]] = {
    "i_text": (
        {"id": {"from": "_id", "type": "string", "length": 60}},
        [
            OID,
            str(OID),
            Binary.from_uuid(ID_UUID),
            str(ID_UUID),
            "a",
            "A",
            "é",
            "e",
            "e\u0301",
            "ß",
            "ss",
            "a ",
            "",
            "\0",
            "a\0",
            "😀",
            "i",
            "İ",
            "ı",
            1,
            {"x": 0},
            True,
        ],
        5,
    ),
    "i_integer": (
        {"id": {"from": "_id", "type": "integer"}},
        [
            1,
            Int64(2**62),
            2.0,
            2.5,
            Decimal128("3"),
            -5,
            Decimal128("1E3"),
            1e18,
            Int64(-(2**63)),
            1e19,
        ],
        2,
    ),
    "i_number": ({"id": {"from": "_id", "type": "number"}}, [0.1, Decimal128("0.1"), 2**53, 2**53 + 1, -1.5, 1e300], 2),
    "i_decimal": (
        {"id": {"from": "_id", "type": "decimal"}},
        [
            0.1,
            Decimal128("0.1"),
            Decimal128("0.5"),
            Decimal128("1E-30"),
            Decimal128("1E-31"),
            Decimal128("9" * 34),
            7,
            "8",
        ],
        2,
    ),
    "i_boolean": ({"id": {"from": "_id", "type": "boolean"}}, [True, 1, False, 0], 2),
    "i_binary": (
        {"id": {"from": "_id", "type": "binary", "length": 32}},
        [
            Binary(b"k", 0),
            Binary(b"k", 5),
            Binary(b"k", 128),
            Binary(b"l", 5),
            b"",
            "bQ==",
            Binary.from_uuid(ID_UUID),
        ],
        1,
    ),
    "i_uuid": (
        {"id": {"from": "_id", "type": "uuid"}},
        [
            Binary.from_uuid(ID_UUID),
            str(ID_UUID),
            Binary(ID_UUID.bytes, 3),
            str(SOME_UUID).upper(),
            "nope",
        ],
        2,
    ),
    "i_datetime": (
        {"id": {"from": "_id", "type": "datetime"}},
        [
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
            "2026-01-01T00:00:00Z",
            datetime(1, 1, 1, tzinfo=UTC),
            DatetimeMS(2**55),
        ],
        2,
    ),
    "i_date": (
        {"id": {"from": "_id", "type": "date"}},
        [datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01", "2026-01-02"],
        1,
    ),
    "i_time": ({"id": {"from": "_id", "type": "time"}}, ["01:02:03", "01:02:03Z", "-00:00:00", "13:14:15.5"], 1),
    "i_unsigned": ({"id": {"from": "_id", "type": "unsigned"}}, [0, 5, Int64(-1), Decimal128(str(2**64 - 1))], 1),
    "i_document": (
        {"a": {"from": "_id.a", "type": "integer"}, "b": {"from": "_id.b", "type": "string", "length": 24}},
        [
            {"a": 1, "b": "x"},
            {"b": "x", "a": 1},
            {"b": "y", "a": 1},
            {"a": 2, "b": "x", "c": 1},
            {"a": 2, "b": "x", "c": 2},
            {"a": Int64(3), "b": ""},
            {"a": 4.0, "b": "q"},
            {"a": 5, "b": OID},
            {"a": 5, "b": str(OID)},
            {"a": 6},
            7,
        ],
        5,
    ),
    "i_nested": (
        {"a": {"from": ["_id", "x.y", "z"], "type": "string"}},
        [{"x.y": {"z": "1"}}, {"x.y": {"z": "2", "w": 1}}],
        0,
    ),
}


def documents_of_everything() -> list[dict[str, Any]]:
    count = max(len(values) for _, values in FIELDS.values())
    documents: list[dict[str, Any]] = []
    for number in range(count):
        document: dict[str, Any] = {"not copied": {"$date": "mine"}, "deep": nested(150) if number % 7 == 0 else None}
        for name, (_, values) in FIELDS.items():
            if values:
                value = values[number % len(values)]
                for place, content in PLACES.get(name, lambda value, name=name: {name: value})(value).items():
                    known = document.get(place)
                    document[place] = {**known, **content} if isinstance(known, dict) else content
        documents.append(document)
    return [*documents, {}, dict.fromkeys(FIELDS), *UNFIT_DOCUMENTS, *AMBIGUOUS]


def from_mongodb(database: str) -> list[Route]:
    fields = {name: kind for name, (kind, _) in FIELDS.items()}
    routes: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("everything", {"id": {"from": "_id", "type": "integer"}}, fields)
    ]
    routes += [(name, key, {"v": "integer"}) for name, (key, _, _) in IDS.items()]
    return [
        Route.model_validate(
            {
                "name": name,
                "topic": f"{database}.{database}.{name}",
                "target": {"store": "mysql", "table": f"{database}_{name}"},
                "key": key,
                "fields": copied,
            }
        )
        for name, key, copied in routes
    ]


async def test_nothing_differs_between_mongodb_and_a_copy_in_mysql(
    stack: Stack, stores: tuple[Settings, AsyncEngine, "AsyncIOMotorClient[dict[str, Any]]"]
) -> None:
    settings, engine, client = stores
    name = f"live_{secrets.token_hex(4)}"
    source = client[name]
    copies = Copies(settings, engine, client, from_mongodb(name))

    async def insert(first: int) -> None:
        """In the snapshot, ids are even ones of their list; afterwards the others come."""
        documents = documents_of_everything()
        await source["everything"].insert_many([{"_id": first + n, **each} for n, each in enumerate(documents)])
        for collection, (_, ids, _) in IDS.items():
            chosen = [(n, each) for n, each in enumerate(ids) if n % 2 == (first > 0)]
            await source[collection].insert_many([{"_id": each, "v": n} for n, each in chosen])

    await insert(0)
    changed = {
        "topic.prefix": name,
        "capture.target": name,
        "collection.include.list": f"{name}[.].*",
    }
    topics = [route.topic for route in copies.routes]
    rows = len(documents_of_everything())
    unfit = {collection: count for collection, (_, _, count) in IDS.items()}
    unfit["everything"] = 2 * (len(UNFIT_DOCUMENTS) + len(AMBIGUOUS))
    everything = copies.routes[0].target.copy_name

    async def count() -> int:
        try:
            async with engine.connect() as connection:
                found: int = (await connection.execute(text(f"SELECT COUNT(*) FROM {everything}"))).scalar_one()  # noqa: S608 - ours
                return found
        except ProgrammingError:
            return 0  # the sync creates the table

    try:
        async with run_connector(stack, "mongodb-tweets", topics=topics, changed=changed), copies.syncing():
            await eventually(count, lambda found: found >= rows - len(UNFIT_DOCUMENTS))
            await insert(STREAMED)
            await copies.assert_that_nothing_differs(unfit)

            # The control: a change of any field is found, and repaired.
            route = copies.routes[0]
            async with engine.begin() as connection:
                (row,) = (await connection.execute(text(f"SELECT * FROM {everything} WHERE id = 0"))).mappings()  # noqa: S608 - ours
                wrong = {column: row[column] for column in route.fields if row[column] is not None}
                for column, value in wrong.items():
                    is_json = column in ("j", "constant")
                    new = json.dumps(other(json.loads(value))) if is_json else other(value)
                    update = text(f"UPDATE {everything} SET `{column}` = :new WHERE id = 0")  # noqa: S608 - ours
                    await connection.execute(update, {"new": new})
            report = await copies.compare(route, repair=True)
            (difference,) = [example for example in report.examples if example.outcome == "mended"]
            assert set(difference.fields) == wrong.keys()
            assert (report.different, report.mended) == (1, 1)
            async with engine.connect() as connection:
                (again,) = (await connection.execute(text(f"SELECT * FROM {everything} WHERE id = 0"))).mappings()  # noqa: S608 - ours
            assert {column: again[column] for column in wrong} == wrong
    finally:
        await client.drop_database(name)
        async with engine.begin() as connection:
            for route in copies.routes:
                await connection.execute(text(f"DROP VIEW IF EXISTS {route.target.name}"))
                await connection.execute(text(f"DROP TABLE IF EXISTS {route.target.copy_name}"))
