"""The canonical text of rows: in Python, and the same in MySQL."""

import json
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.routes.config import CopiedField
from sync_service.sinks.canonical import CanonicalRow, ChecksumBuilder, Column, canonical_field
from sync_service.sinks.mysql.json_text import double_text
from sync_service.sinks.mysql.table import MysqlTable, table_columns

EARLIEST = datetime(1000, 1, 1)  # noqa: DTZ001 - MySQL's has no zone

# The columns that a table of each type may have, and values for them as a driver takes them.
TYPES: dict[str, tuple[str, str, st.SearchStrategy[Any]]] = {
    "string": ("string", "VARCHAR(200)", st.text(max_size=40)),
    "char": ("string", "CHAR(60)", st.text(max_size=40)),
    "latin": ("string", "VARCHAR(200) CHARACTER SET latin1", st.text(st.characters(max_codepoint=0x7E), max_size=20)),
    "long": ("text", "TEXT", st.text(max_size=300)),
    "integer": ("integer", "BIGINT", st.integers(-(2**63), 2**63 - 1)),
    "unsigned": ("unsigned", "BIGINT UNSIGNED", st.integers(0, 2**64 - 1)),
    "number": ("number", "DOUBLE", st.floats(allow_nan=False, allow_infinity=False)),
    "decimal": ("decimal", "DECIMAL(30, 6)", st.decimals(-(10**20), 10**20, places=6)),
    "whole": ("decimal", "DECIMAL(20, 0)", st.integers(-(10**19), 10**19).map(Decimal)),
    "boolean": ("boolean", "TINYINT(1)", st.booleans()),
    "moment": ("datetime", "DATETIME(6)", st.datetimes(EARLIEST, EARLIEST.replace(year=9999))),
    "date": ("date", "DATE", st.dates(EARLIEST.date())),
    "binary": ("binary", "VARBINARY(60)", st.binary(max_size=50)),
    "json": (
        "json",
        "JSON",
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
            max_leaves=12,
        ),
    ),
}


@pytest.fixture
async def typed(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """A table `typed` with a column of each type."""
    columns = ", ".join(f"`{name}` {column}" for name, (_, column, _) in TYPES.items())
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE TABLE typed (n INTEGER PRIMARY KEY, {columns})"))
    yield engine
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE typed"))


def bound(name: str, value: Any) -> Any:
    return json.dumps(value) if name == "json" and value is not None else value


async def texts_by_mysql(engine: AsyncEngine, rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What MySQL makes of these rows, written into the table."""
    columns = await table_columns(engine, engine.url.database or "", "typed")
    expressions = [
        canonical_field(name, CopiedField(type=kind), columns[name], in_mongodb=False).sql(f"`{name}`", of_source=False)
        for name, (kind, _, _) in TYPES.items()
    ]
    places = f"({', '.join(['%s'] * (len(TYPES) + 1))})"
    values = tuple(value for n, row in enumerate(rows) for value in (n, *(bound(name, row[name]) for name in TYPES)))
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM typed", ())
        insert = f"INSERT INTO typed VALUES {', '.join([places] * len(rows))}"  # noqa: S608 - names of ours
        await connection.exec_driver_sql(insert, values)
        select = f"SELECT {', '.join(expressions)} FROM typed ORDER BY n"  # noqa: S608 - names of ours
        found = await connection.exec_driver_sql(select, ())
        return [list(row) for row in found]


async def test_mysql_writes_doubles_of_every_size_the_same(engine: AsyncEngine) -> None:
    rng = random.Random(1)  # noqa: S311 - a test that can be repeated
    some = [rng.uniform(-1, 1) * 10.0 ** rng.randint(-25, 25) for _ in range(400)]
    # With as many digits before the point as MySQL writes without an exponent, and one more.
    long = [rng.randint(10**14, 4 * 10**15) + rng.choice((0, 0.5)) for _ in range(400)]
    numbers = [*some, *long, *(10.0**exponent for exponent in range(-25, 25)), 1000000000000000.5]
    expressions = ", ".join(["CAST(CAST(CAST(%s AS DOUBLE) AS JSON) AS CHAR)"] * len(numbers))
    async with engine.connect() as connection:
        (written,) = await connection.exec_driver_sql(f"SELECT {expressions}", tuple(numbers))
    assert [double_text(number) for number in numbers] == list(written)


@given(
    st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, (_, _, values) in TYPES.items()}),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
async def test_mysql_writes_the_same_canonical_text(typed: AsyncEngine, rows: list[dict[str, Any]]) -> None:
    columns = await table_columns(typed, typed.url.database or "", "typed")
    fields = [
        canonical_field(name, CopiedField(type=kind), columns[name], in_mongodb=False)
        for name, (kind, _, _) in TYPES.items()
    ]
    expected = [[field.text(row[field.name]) for field in fields] for row in rows]
    assert await texts_by_mysql(typed, rows) == expected


@given(st.lists(st.fixed_dictionaries({name: values for name, (_, _, values) in TYPES.items()}), max_size=8))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
async def test_mysql_computes_the_same_checksum(typed: AsyncEngine, rows: list[dict[str, Any]]) -> None:
    schema = typed.url.database or ""
    columns = await table_columns(typed, schema, "typed")
    key = [canonical_field("n", CopiedField(type="integer"), columns["n"], in_mongodb=False)]
    fields = [
        canonical_field(name, CopiedField(type=kind), columns[name], in_mongodb=False)
        for name, (kind, _, _) in TYPES.items()
    ]
    row_of = CanonicalRow(key, fields)
    assert row_of.is_exact_in_sql
    expected = ChecksumBuilder()
    for n, row in reversed(list(enumerate(rows))):
        expected.add(row_of.text((n,), row))
    if rows:
        await texts_by_mysql(typed, rows)
    else:
        async with typed.begin() as connection:
            await connection.exec_driver_sql("DELETE FROM typed", ())
    table = MysqlTable(typed, schema, "typed", ["n"], columns)
    texts = [field.sql(f"`{field.name}`", of_source=False) for field in (*key, *fields)]
    assert await table.checksum(texts, None, None) == expected.checksum


def field_of(kind: str, data_type: str = "varchar", *, in_mongodb: bool = False, **column: Any) -> Any:
    return canonical_field(
        "f", CopiedField.model_validate({"type": kind}), Column("f", data_type, **column), in_mongodb=in_mongodb
    )


SAME_KIND: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "string": ("varchar", st.text()),
    "integer": ("bigint", st.integers(-(2**63), 2**63 - 1)),
    "number": ("double", st.floats(allow_nan=False, allow_infinity=False)),
    "decimal": ("decimal", st.decimals(-1000, 1000, places=3)),
    "boolean": ("tinyint", st.booleans()),
    "datetime": ("datetime", st.datetimes(timezones=st.just(UTC))),
    "binary": ("varbinary", st.binary()),
    "json": ("json", TYPES["json"][2]),
}


@pytest.mark.parametrize("kind", SAME_KIND)
@given(data=st.data())
def test_texts_are_equal_only_for_equal_values(kind: str, data: st.DataObject) -> None:
    data_type, values = SAME_KIND[kind]
    one = data.draw(st.none() | values)
    other = data.draw(st.just(one) | st.none() | values)
    field = field_of(kind, data_type, digits=6)
    # JSON tells true from 1, 1 from 1.0, and zeros by their sign, which Python's == does not.
    means_the_same = repr(one) == repr(other) if kind in ("json", "number") else one == other
    if kind == "json":
        means_the_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (field.text(one) == field.text(other)) is means_the_same


@given(st.lists(st.none() | st.text(), min_size=2, max_size=2), st.lists(st.none() | st.text(), min_size=2, max_size=2))
def test_texts_of_neighbouring_fields_are_unambiguous(one: list[str | None], other: list[str | None]) -> None:
    field = field_of("string")
    row_of = CanonicalRow(
        [field_of("integer")],
        [canonical_field(n, CopiedField(type="string"), Column(n, "text"), in_mongodb=False) for n in "ab"],
    )
    texts = [row_of.text((1,), dict(zip("ab", values, strict=True))) for values in (one, other)]
    assert (texts[0] == texts[1]) is (one == other)
    assert field.text(None) != field.text("-")


def test_times_are_compared_with_the_precision_of_the_copy() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 123999, tzinfo=UTC)
    in_mongodb = field_of("datetime", "datetime", in_mongodb=True, digits=6)
    assert in_mongodb.text(moment) == in_mongodb.text(moment.replace(microsecond=123000)) == "2026-01-31 12:00:00.123"
    in_mysql = field_of("datetime", "datetime", digits=6)
    assert in_mysql.text(moment) == "2026-01-31 12:00:00.123999"
    whole_seconds = field_of("datetime", "datetime", digits=0)
    assert whole_seconds.text(moment.replace(microsecond=500000)) == "2026-01-31 12:00:01"
    elsewhere = moment.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:00").tzinfo)
    assert in_mysql.text(elsewhere) == in_mysql.text(moment) == in_mysql.text(moment.replace(tzinfo=None))


def test_value_of_another_type_equals_no_value_of_the_fields_type() -> None:
    assert field_of("boolean", "tinyint").text(True) == field_of("boolean", "tinyint").text(1)
    assert field_of("boolean", "tinyint").text("1") != field_of("boolean", "tinyint").text(True)
    assert field_of("integer", "int").text("7") != field_of("integer", "int").text(7)
    assert field_of("string").text(7) != field_of("string").text("7")


def test_decimals_are_compared_by_their_value() -> None:
    field = field_of("decimal", "decimal")
    assert field.text(Decimal("1.500")) == field.text(Decimal("1.5"))
    assert field.text(Decimal(10)) == field.text(Decimal("1E+1")) == "10"
    assert field.text(Decimal("-0.0")) == field.text(Decimal(0))


def test_json_that_is_copied_as_a_string_is_compared_by_its_numbers() -> None:
    field = canonical_field("f", CopiedField.model_validate({"type": "string"}), Column("f", "json"), in_mongodb=True)
    assert field.text("[1e22, 1.0]") == field.text("[10000000000000000000000,1.0]")
    exact = '{"a": 12345678901234567890.123456789}'
    assert field.text(exact) != field.text(exact.replace("789}", "788}"))
    too_long = f"[{'9' * 40}]"
    assert field.text(too_long) == f"{len(too_long)}:{too_long}"


def test_defaults_and_constants_are_part_of_the_source() -> None:
    default = canonical_field(
        "f", CopiedField.model_validate({"type": "string", "default": "none"}), Column("f", "text"), in_mongodb=True
    )
    assert default.absent == default.text("none") == "4:none"
    constant = canonical_field("f", CopiedField(constant=True), Column("", ""), in_mongodb=True)
    assert constant.absent == constant.text(True) == "1"


def test_fields_without_an_sql_expression_are_not_compared_in_sql() -> None:
    assert field_of("time", "time").expression is None
    assert field_of("json", "longtext").expression is None
    assert not CanonicalRow([field_of("integer", "int")], [field_of("number", "float")]).is_exact_in_sql
