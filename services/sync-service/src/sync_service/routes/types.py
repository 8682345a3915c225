"""The types a copied field can have, and how the source's values become them.

Both stores are given the same Python values; times are aware and UTC, to the microsecond.
"""

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from service_kit.wire import rfc3339
from sync_service.events.problems import UnfitValue

FieldType = Literal["string", "integer", "number", "decimal", "boolean", "datetime", "json", "json_text"]


def convert(value: Any, wanted: FieldType) -> Any:
    """The value as the type wants it; null stays null. Raises `UnfitValue`."""
    if value is None:
        return None
    try:
        return _CONVERSIONS[wanted](value)
    except (ValueError, TypeError, InvalidOperation, OverflowError, RecursionError) as error:
        # Without the value, which may be personal and ends up in the log. The dead letter has it.
        raise UnfitValue(f"a {type(value).__name__} that is no {wanted}") from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _decimal(value: Any) -> Decimal:
    # A binary fraction isn't the number that was written; its shortest text is.
    number = Decimal(str(value)) if isinstance(value, str | int | float | Decimal) else None
    if number is None or not number.is_finite():
        raise TypeError
    return number


def _boolean(value: Any) -> bool:
    # MySQL's TINYINT(1) is a number in a snapshot and may be a boolean afterwards.
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _datetime(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(value: Any) -> Any:
    """Something that JSON can say: times as RFC 3339, decimals as text, binaries as base64."""
    match value:
        case dict():
            return {name: _json(item) for name, item in value.items()}
        case list():
            return [_json(item) for item in value]
        case datetime():
            return rfc3339(value)
        case Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
    return value


_CONVERSIONS: Mapping[FieldType, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "decimal": _decimal,
    "boolean": _boolean,
    "datetime": _datetime,
    "json": _json,
    "json_text": lambda value: msgspec.json.decode(_string(value)),
}
