"""Values of a key as bytes, and back: exactly the values that the driver returned. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

_MICROSECOND = timedelta(microseconds=1)
# By the name of the type: how to write a value as text or number, and how to read it.
_TYPES: Mapping[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    str: (str, str),
    int: (int, int),
    float: (float.hex, float.fromhex),
    bytes: (bytes.hex, bytes.fromhex),
    Decimal: (str, Decimal),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    timedelta: (lambda value: value // _MICROSECOND, lambda number: timedelta(microseconds=number)),
}
_BY_NAME = {kind.__name__: read for kind, (_, read) in _TYPES.items()}


def stored_values(values: Sequence[Any]) -> bytes:
    return json.dumps([(type(value).__name__, _TYPES[type(value)][0](value)) for value in values]).encode()


def values_of(stored: bytes) -> list[Any] | None:
    """None of bytes that are none of `stored_values`."""
    try:
        return [_BY_NAME[kind](value) for kind, value in json.loads(stored)]
    except (ValueError, KeyError, TypeError):
        return None
