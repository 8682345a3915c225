"""MongoDB Extended JSON, in which Debezium writes documents and ids: strict v1, v2 relaxed and v2 canonical mixed.

https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
"""

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sync_service.debezium.errors import InvalidEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)
_UUID_SUBTYPE = 4


def decode_extended(value: Any) -> Any:
    """Replace the type wrappers of a parsed document with Python values.

    ObjectIds become their 24 hexadecimal digits, dates aware datetimes, `$numberDecimal` Decimal, binaries bytes and
    those of subtype 4 UUIDs. What has no Python value (`$timestamp`, `$regex`, a `$date` beyond the year 9999 …)
    stays as it is written. Raises `InvalidEvent`.
    """
    kind = type(value)
    if kind is dict:
        unwrap = _WRAPPERS.get(next(iter(value), ""))
        if unwrap is not None:
            try:
                return unwrap(value)
            except (ValueError, TypeError, KeyError, ArithmeticError) as error:
                raise InvalidEvent(f"a {next(iter(value))} that is not Extended JSON") from error
        # Most values are neither dicts nor lists: a call for each would take most of the time.
        return {
            name: decode_extended(item) if type(item) is dict or type(item) is list else item
            for name, item in value.items()
        }
    if kind is list:
        return value and [decode_extended(item) if type(item) is dict or type(item) is list else item for item in value]
    return value


def _date(wrapped: Mapping[str, Any]) -> Any:
    moment = wrapped["$date"]
    if type(moment) is not int:
        if isinstance(moment, str):
            return datetime.fromisoformat(moment).astimezone(UTC)
        moment = int(moment["$numberLong"] if isinstance(moment, dict) else moment)
    try:
        return _EPOCH + timedelta(milliseconds=moment)
    except OverflowError:
        if moment not in _INT64:
            raise
        return wrapped


def _binary(wrapped: Mapping[str, Any]) -> bytes | UUID:
    content = wrapped["$binary"]
    if isinstance(content, dict):
        encoded, subtype = content["base64"], content["subType"]
    else:
        encoded, subtype = content, wrapped.get("$type", "00")
    decoded = base64.b64decode(encoded, validate=True)
    return UUID(bytes=decoded) if int(subtype, 16) == _UUID_SUBTYPE else decoded


def _double(wrapped: Mapping[str, Any]) -> float:
    number = float(wrapped["$numberDouble"])
    if not math.isfinite(number):
        raise ValueError("neither NaN nor Infinity has a JSON or SQL value")
    return number


# By the first name of the wrapper. (A document of the application may begin with a dollar, too, but with another name.)
_WRAPPERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "$oid": lambda wrapped: str(wrapped["$oid"]),
    "$date": _date,
    "$numberLong": lambda wrapped: int(wrapped["$numberLong"]),
    "$numberInt": lambda wrapped: int(wrapped["$numberInt"]),
    "$numberDouble": _double,
    "$numberDecimal": lambda wrapped: Decimal(wrapped["$numberDecimal"]),
    "$binary": _binary,
    "$uuid": lambda wrapped: UUID(wrapped["$uuid"]),
    "$symbol": lambda wrapped: str(wrapped["$symbol"]),
    "$undefined": lambda _wrapped: None,
}
