"""Which existing columns change the values of a route without an error."""

from decimal import Decimal, InvalidOperation

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.sinks.mysql.column_fit import changes_values

# The existing type, the wanted one, and a value of the wanted one.
CHANGED = [
    ("decimal(10,2)", "DECIMAL(12,4)", "1.2567"),
    ("bigint", "DECIMAL(12,4)", "1.2567"),
    ("double", "DECIMAL(30,20)", "0.12345678901234567891"),
    ("float", "DOUBLE", "0.123456789012"),
    ("decimal(10,2)", "DOUBLE", "0.125"),
    ("double", "BIGINT", "9007199254740993"),
    ("date", "DATETIME(6)", "'2026-03-04 05:06:07'"),
    ("datetime", "DATETIME(6)", "'2026-03-04 05:06:07.125'"),
    ("datetime(3)", "DATETIME(6)", "'2026-03-04 05:06:07.123456'"),
    ("time", "TIME(6)", "'05:06:07.5'"),
]
KEPT = [
    ("decimal(12,4)", "DECIMAL(10,2)", "1.25"),
    ("double", "DOUBLE", "0.1"),
    ("bigint", "BIGINT UNSIGNED", "5"),
    ("decimal(30,0)", "BIGINT", "9007199254740993"),
    ("datetime(6)", "DATE", "'2026-03-04'"),
    ("datetime(6)", "DATETIME(6)", "'2026-03-04 05:06:07.123456'"),
    ("varchar(255)", "DATE", "'2026-03-04'"),
    ("longtext", "VARCHAR(255)", "'x'"),
]


def plain(written: str) -> object:
    """Without what only the type adds: zeros."""
    try:
        return Decimal(written)
    except InvalidOperation:
        return written.removesuffix(" 00:00:00.000000")


@pytest.mark.integration
@pytest.mark.parametrize(("existing", "wanted", "value"), [*CHANGED, *KEPT])
async def test_mysql_agrees(engine: AsyncEngine, existing: str, wanted: str, value: str) -> None:
    changed = (existing, wanted, value) in CHANGED
    assert changes_values(existing, wanted) == changed
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE TEMPORARY TABLE fit (v {existing}, w {wanted})"))
        await connection.execute(text(f"INSERT INTO fit VALUES ({value}, {value})"))  # noqa: S608 - values of this test
        kept = (await connection.execute(text("SELECT CAST(v AS CHAR), CAST(w AS CHAR) FROM fit"))).one()
        await connection.execute(text("DROP TEMPORARY TABLE fit"))
    assert (plain(kept[0]) != plain(kept[1])) == changed


def test_number_is_no_time() -> None:
    assert changes_values("bigint", "DATE")
    assert changes_values("date", "BIGINT")
