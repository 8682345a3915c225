"""Values of the driver as Debezium writes them, and numbers of single precision."""

import struct
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.converters import FieldType, convert
from sync_service.sinks.canonical import Column
from sync_service.sinks.floats import single, single_text
from sync_service.sinks.mysql.event_values import as_event


def written(column: Column, value: Any, *types: FieldType) -> Any:
    change = as_event(column, frozenset(types or ("string",)))
    return value if change is None else change(value)


@pytest.mark.parametrize(
    ("column", "value", "event"),
    [
        (Column("c", "decimal"), Decimal("1.50"), "1.50"),
        (Column("c", "decimal"), Decimal("1E-30"), f"0.{'0' * 29}1"),
        (Column("c", "date"), date(1, 1, 1), "0001-01-01Z"),
        (Column("c", "date"), "2026-00-00", None),
        (Column("c", "datetime"), datetime(2026, 1, 1, 1, 2, 3, 120000), "2026-01-01T01:02:03.12Z"),  # noqa: DTZ001
        (Column("c", "datetime"), datetime(2026, 1, 1), "2026-01-01T00:00:00Z"),  # noqa: DTZ001
        (Column("c", "datetime"), "0000-00-00 00:00:00", None),
        (Column("c", "timestamp", digits=6), datetime(2026, 1, 1, 0, 0, 0, 500_000), "2026-01-01T00:00:00.500000Z"),  # noqa: DTZ001
        (Column("c", "timestamp", digits=0), datetime(2026, 1, 1), "2026-01-01T00:00:00Z"),  # noqa: DTZ001
        (Column("c", "time"), timedelta(hours=13, minutes=14, seconds=15, microseconds=500_000), "13:14:15.5Z"),
        (Column("c", "time"), timedelta(hours=10), "10:00:00Z"),
        (Column("c", "time"), timedelta(hours=24), "24:00:00Z"),
        (Column("c", "time"), timedelta(seconds=-1), "-00:00:01Z"),
        (Column("c", "bit", full_type="bit(1)"), 1, True),
        (Column("c", "bit", full_type="bit(12)"), 2049, "AQg="),
        (Column("c", "varbinary"), b"\0\xff", "AP8="),
        (Column("c", "bigint", full_type="bigint unsigned"), 2**63, Decimal(2**63)),
        (Column("c", "bigint", full_type="bigint unsigned"), 5, 5),
        (Column("c", "float"), 0.10000000149011612, 0.1),
        (Column("c", "vector"), struct.pack("<2f", 0.1, 2), [0.1, 2.0]),
        (Column("c", "varchar"), "x", "x"),
    ],
)
def test_value_is_that_of_an_event(column: Column, value: Any, event: Any) -> None:
    assert written(column, value) == event
    assert type(written(column, value)) is type(event)


def test_times_of_integer_fields_are_numbers() -> None:
    assert written(Column("c", "date"), date(1970, 1, 2), "integer") == 1
    assert written(Column("c", "datetime"), datetime(1970, 1, 1, 0, 0, 1), "integer") == 10**6  # noqa: DTZ001
    assert written(Column("c", "datetime"), datetime(1, 1, 1), "integer") == -62_135_596_800 * 10**6  # noqa: DTZ001
    assert written(Column("c", "time"), timedelta(seconds=-1), "integer") == -(10**6)
    assert written(Column("c", "datetime"), "0000-00-00 00:00:00", "integer") is None


@pytest.mark.parametrize("kind", ["date", "datetime", "timestamp"])
@pytest.mark.parametrize("field_type", get_args(FieldType))
def test_zero_date_of_a_column_that_is_not_null_is_refused_by_every_type(kind: str, field_type: FieldType) -> None:
    column, zero = Column("c", kind, is_nullable=False), "0000-00-00 00:00:00"
    with pytest.raises(UnfitValue, match=f"a ZeroDate that is no {field_type}"):
        convert(written(column, zero, field_type), field_type)
    assert written(Column("c", kind), zero, field_type) is None
    day = date(2026, 1, 1) if kind == "date" else datetime(2026, 1, 1)  # noqa: DTZ001 - as a driver returns it
    assert written(column, day, field_type) == written(Column("c", kind), day, field_type)


def test_bytes_stay_bytes_for_binary_fields_only() -> None:
    assert written(Column("c", "blob"), b"\0", "binary") == b"\0"
    assert written(Column("c", "blob"), b"\0", "binary", "string") == "AA=="


@pytest.mark.parametrize("bits", [2, 7, 8, 12, 63, 64])
@given(st.data())
def test_bits_are_the_number_of_the_column(bits: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2**bits - 1))
    event = written(Column("c", "bit", full_type=f"bit({bits})"), number)
    assert convert(event, "bits") == number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_way_of_a_float_has_one_text(number: float) -> None:
    """From the log, from a snapshot with six digits, and with all digits of a double."""
    from_log, from_snapshot = single(number), float(f"{number:.6g}")
    assert struct.pack("<f", from_log) == struct.pack("<f", number)
    assert len(repr(from_log)) <= len(repr(number))
    assert single_text(from_log) == single_text(number)
    # (The largest ones are rounded beyond single precision.)
    if abs(from_snapshot) < 3.4e38 and (abs(number) > 1.2e-38 or not number):
        assert single_text(from_snapshot) == single_text(number)
