"""Whether the values of a source column fit the type that a route declares. Pure.

The extreme values of the column's type take the way that they take in an event: what Debezium makes of them, then the
conversion of the route. So this knows no list of types that fit each other.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sync_service.routes.converters import CONVERSION_FAILURES, Conversion, unfit_value
from sync_service.sinks.canonical import Column
from sync_service.sinks.mysql.event_values import as_event

_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?")
_MEMBERS = re.compile(r"^(enum|set)\(.*$", re.DOTALL)
_INTEGER_BITS: Mapping[str, int] = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_MOST_DIGITS = 6

_TEXT, _BYTES, _POINT = ("a text",), (b"\x00\xfe\xff",), (1,)
_VALUES: Mapping[str, Sequence[Any]] = {
    "year": (1901, 2155),
    **dict.fromkeys(("float", "double"), (0.5, 2.0**-6)),
    **dict.fromkeys(("char", "varchar", "enum", "set", "tinytext", "text", "mediumtext", "longtext"), _TEXT),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _BYTES),
    "json": ('{"a": 1}',),
    "vector": (struct.pack("<2f", 0.5, 1.0),),
    "date": (date(2026, 1, 31),),
    "time": (timedelta(hours=13, minutes=14, seconds=15),),
    **dict.fromkeys(("geometry", "point", "linestring", "polygon"), _POINT),
    **dict.fromkeys(("multipoint", "multilinestring", "multipolygon", "geomcollection"), _POINT),
}


def comparable_type(column_type: str) -> str:
    """`information_schema.columns.column_type` without what makes no difference: members of an ENUM or a SET."""
    return _MEMBERS.sub(r"\1", column_type.lower())


def misfit(column_type: str, conversion: Conversion, former_type: str | None = None) -> str | None:
    """Why events of a column may have values that the conversion refuses or misreads; None if they fit.

    Both types are as `comparable_type` returns them. What was the same with the `former_type` is no reason: a route
    may know more of the values than their type says, for example that a text has a UUID.
    """
    reason = _misfit(column_type, conversion)
    if reason is None or former_type is None:
        return reason
    return None if reason == _misfit(former_type, conversion) else reason


def _misfit(column_type: str, conversion: Conversion) -> str | None:
    found = _TYPE.match(column_type)
    if found is None:
        return None
    kind, size, scale = found[1], int(found[2] or 0), int(found[3] or 0)
    column = Column("", kind, digits=size, full_type=column_type)
    # A type of fields that takes numbers of any meaning says nothing about how the connector writes times.
    types = frozenset({conversion.field_type} - {"integer"})
    as_in_event: Callable[[Any], Any] = as_event(column, types) or (lambda value: value)
    for value in _values(column, size, scale):
        event = as_in_event(value)
        try:
            converted = conversion.convert(event)
        except CONVERSION_FAILURES as error:
            return str(unfit_value(event, conversion.field_type, error))
        if not _is_same(value, event, converted):
            return f"a {type(event).__name__} that {conversion.field_type} misreads"
    return None


def _values(column: Column, size: int, scale: int) -> Sequence[Any]:
    """As the driver returns them; none of a type that is not known."""
    kind = column.data_type
    if column.full_type == "tinyint(1)":
        return (0, 1)
    if (bits := _INTEGER_BITS.get(kind)) is not None:
        lowest = 0 if "unsigned" in column.full_type else -(2 ** (bits - 1))
        return (lowest, lowest + 2**bits - 1)
    if kind == "bit":
        return (2 ** max(size, 1) - 1,)
    if kind == "decimal":
        return (Decimal((0, (9,) * size, -scale)),)
    if kind in ("datetime", "timestamp"):
        unit = 10 ** (_MOST_DIGITS - size)
        return (datetime(2026, 1, 31, 12, 30, 15, 123456 // unit * unit),)  # noqa: DTZ001 - a DATETIME has no zone
    return _VALUES.get(kind, ())


def _is_same(value: Any, event: Any, converted: Any) -> bool:
    """Is a number still that number, and are bytes still bytes?"""
    if isinstance(event, list):
        return True
    if isinstance(value, bytes):
        return isinstance(converted, bytes)
    if not isinstance(value, int | float | Decimal):
        return True
    if isinstance(converted, str) and not isinstance(event, str):
        return False
    try:
        return Decimal(converted) == Decimal(value)
    except (InvalidOperation, TypeError):
        return False
