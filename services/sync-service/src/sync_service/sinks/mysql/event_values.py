"""Values of a source table as Debezium writes them in an event, from those that the driver returns. Pure.

The live flow converts values of events. A comparison that converts those of the driver would find differences in right
rows, and a repair would destroy them. So both convert the same values (docs/conversions.md, "in the event").
"""

import base64
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sync_service.routes.converters import FieldType
from sync_service.routes.json_values import time_text
from sync_service.sinks.canonical import Column
from sync_service.sinks.floats import single

AsEvent = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a DATETIME has no zone
_MICROSECOND = timedelta(microseconds=1)
_INT64_MAXIMUM = 2**63 - 1
_BITS = re.compile(r"bit\((\d+)\)")
# As Debezium writes a GEOMETRY, which no type takes.
_SPATIAL: Mapping[str, Any] = {"wkb": None, "srid": None}
_WITH_ZERO_DATES = frozenset({"date", "datetime", "timestamp"})
_SPATIAL_TYPES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection"}
)


class ZeroDate:
    """A zero date, also in part, of a column that is NOT NULL, which Debezium writes as 1970-01-01 or as the default.

    No type takes it: the event is a dead letter, or the copy has a value that the source does not have.
    """


_ZERO_DATE = ZeroDate()

# What is selected instead of columns of these types: all digits of a FLOAT, the number of a BIT, which can be compared
# with the column, the bytes of a VECTOR, which the driver takes for text, and nothing of a spatial value.
SELECTED: Mapping[str, str] = {
    "float": "CAST({0} AS DOUBLE)",
    "bit": "CAST({0} AS UNSIGNED)",
    "vector": "UNHEX(HEX({0}))",
    **dict.fromkeys(_SPATIAL_TYPES, "IF({0} IS NULL, NULL, 1)"),
}


def as_event(column: Column, types: frozenset[FieldType]) -> AsEvent | None:
    """Converts a value but None of this column, which fields of these types are copied from. None: nothing to do."""
    kind = column.data_type
    if kind in _SPATIAL_TYPES:
        return lambda _value: _SPATIAL
    if kind.endswith(("binary", "blob")):
        # Base64 would be decoded again.
        return None if types <= {"binary"} else _base64
    if kind == "bit":
        return _bits(column)
    if column.full_type.startswith("bigint") and "unsigned" in column.full_type:
        return _unsigned
    if kind == "timestamp":
        found: AsEvent | None = _timestamp(column.digits or 0)
    else:
        # Times are numbers in the events of a connector with `time.precision.mode=microseconds`.
        found = (_NUMBERS if "integer" in types else _CONVERSIONS).get(kind) or _CONVERSIONS.get(kind)
    return _refusing_zero_dates(found) if found and kind in _WITH_ZERO_DATES and not column.is_nullable else found


def _refusing_zero_dates(convert: AsEvent) -> AsEvent:
    def converted(value: Any) -> Any:
        event = convert(value)
        return _ZERO_DATE if event is None else event

    return converted


def _base64(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _bits(column: Column) -> AsEvent:
    found = _BITS.match(column.full_type)
    length = int(found[1]) if found else 1
    if length == 1:
        return bool
    return lambda number: base64.b64encode(int(number).to_bytes(-(-length // 8), "little")).decode()


def _unsigned(number: int) -> int | Decimal:
    """In an event the upper half is negative. Only the type `unsigned` knows what is meant: no other takes it."""
    return number if number <= _INT64_MAXIMUM else Decimal(number)


def _decimal(number: Any) -> Any:
    return f"{number:f}" if isinstance(number, Decimal) else number


def _day(day: Any) -> str | None:
    """A day that no calendar has, such as 2026-00-00, is null in the event of a column that may be NULL.

    The driver returns its text.
    """
    return f"{day.isoformat()}Z" if isinstance(day, date) else None


def _timestamp(digits: int) -> AsEvent:
    """A TIMESTAMP has all digits of its column, a DATETIME only those that are needed."""
    length = len("2026-01-31T12:00:00") + (digits + 1 if digits else 0)

    def written(moment: Any) -> str | None:
        return f"{moment.isoformat(timespec='microseconds')[:length]}Z" if isinstance(moment, datetime) else None

    return written


def _moment(moment: Any) -> str | None:
    return f"{_without_zeros(moment.isoformat())}Z" if isinstance(moment, datetime) else None


def _time(duration: Any) -> str | None:
    """As text, Debezium writes a TIME that is no time of day as another one or as null: that is a difference."""
    return f"{_without_zeros(time_text(duration))}Z" if isinstance(duration, timedelta) else None


def _days(day: Any) -> int | None:
    return (day - _EPOCH.date()).days if isinstance(day, date) else None


def _microseconds(moment: Any) -> int | None:
    return (moment - _EPOCH) // _MICROSECOND if isinstance(moment, datetime) else None


def _microseconds_of_time(duration: Any) -> int | None:
    return duration // _MICROSECOND if isinstance(duration, timedelta) else None


def _without_zeros(text: str) -> str:
    return text.rstrip("0") if "." in text else text


def _vector(content: Any) -> Any:
    if not isinstance(content, bytes):
        return content
    return [single(number) for number in struct.unpack(f"<{len(content) // 4}f", content)]


_CONVERSIONS: Mapping[str, AsEvent] = {
    "decimal": _decimal,
    "date": _day,
    "datetime": _moment,
    "time": _time,
    "float": single,
    "vector": _vector,
}

_NUMBERS: Mapping[str, AsEvent] = {"date": _days, "datetime": _microseconds, "time": _microseconds_of_time}
