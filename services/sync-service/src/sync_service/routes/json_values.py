"""Converts values without a JSON type to JSON: the same text for values from an event and from a driver."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, ObjectId
from bson.json_util import LEGACY_JSON_OPTIONS
from bson.json_util import default as extended_json

from service_kit.times import rfc3339

_UNCHANGED = frozenset({str, int, bool, type(None)})
_UUID_SUBTYPE = 4
_UUID_BYTES = 16


def jsonable(value: Any) -> Any:
    """Times become RFC 3339 in UTC, decimals and UUIDs text, binaries base64. Raises `ValueError` for NaN.

    Other BSON types become Extended JSON v1, in which Debezium writes them.
    """
    kind = type(value)
    if kind in _UNCHANGED:
        return value
    if kind is dict:
        return {name: item if type(item) in _UNCHANGED else jsonable(item) for name, item in value.items()}
    if kind is list:
        return [item if type(item) in _UNCHANGED else jsonable(item) for item in value]
    return _converted(value)


def _converted(value: Any) -> Any:
    for types, convert in _CONVERTERS:
        if isinstance(value, types):
            return convert(value)
    return jsonable(extended_json(value, LEGACY_JSON_OPTIONS))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError
    return value


def _moment(value: datetime) -> str:
    return rfc3339(value.replace(tzinfo=UTC) if value.tzinfo is None else value)


def _bytes(value: bytes) -> str:
    if isinstance(value, Binary) and value.subtype == _UUID_SUBTYPE and len(value) == _UUID_BYTES:
        return str(value.as_uuid())
    return base64.b64encode(value).decode()


def time_text(value: time | timedelta) -> str:
    """`HH:MM:SS`, with the fraction if there is one; MySQL's TIME may have a sign and more than 24 hours."""
    if isinstance(value, time):
        return value.isoformat()
    sign = "-" if value < timedelta() else ""
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{microseconds:06d}" if microseconds else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


# The order matters: a datetime is a date, too. (Subclasses of int and dict are BSON's Int64 and SON.)
_CONVERTERS: Sequence[tuple[type | tuple[type, ...], Callable[[Any], Any]]] = (
    (float, _finite),
    (datetime, _moment),
    ((Decimal, ObjectId, UUID), str),
    (Decimal128, lambda value: str(value.to_decimal())),
    (bytes, _bytes),
    (date, date.isoformat),
    ((time, timedelta), time_text),
    (int, int),
    (Mapping, lambda value: jsonable(dict(value))),
    (tuple, lambda value: jsonable(list(value))),
)
