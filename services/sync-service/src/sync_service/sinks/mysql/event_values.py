"""Values of a source table as Debezium writes them in an event, from those that the driver returns. Pure.

The live flow converts values of events. A comparison that converts those of the driver would find differences that there
are not, and a repair would destroy right rows. So both convert the same values (docs/conversions.md, "in the event").
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

_DAY = timedelta(days=1)
_INT64_MAXIMUM = 2**63 - 1
_BITS = re.compile(r"bit\((\d+)\)")
# As Debezium writes a GEOMETRY, which no type takes.
_SPATIAL: Mapping[str, Any] = {"wkb": None, "srid": None}
_SPATIAL_TYPES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection"}
)


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
    return _CONVERSIONS.get(kind)


def _base64(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _bits(column: Column) -> AsEvent:
    """The driver's value is a number, because `MysqlTable` selects one."""
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
    """A day that no calendar has, such as 2026-00-00, is null in an event; the driver returns its text."""
    return f"{day.isoformat()}Z" if isinstance(day, date) else None


def _moment(moment: Any) -> str | None:
    return f"{_without_zeros(moment.isoformat())}Z" if isinstance(moment, datetime) else None


def _time(duration: Any) -> str | None:
    """Debezium takes a TIME for a time of day: any other is null."""
    if not isinstance(duration, timedelta) or not timedelta() <= duration < _DAY:
        return None
    return f"{_without_zeros(time_text(duration))}Z"


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
    "timestamp": _moment,
    "time": _time,
    "float": single,
    "vector": _vector,
}
