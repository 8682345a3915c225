"""MongoDB Extended JSON, as Debezium writes documents and ids: strict v1, v2 relaxed and v2 canonical mixed.

https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
"""

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sync_service.events.problems import InvalidEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_extended(value: Any) -> Any:
    """Replace the type wrappers in a parsed document by Python values.

    ObjectIds become their 24 hexadecimal digits, dates aware datetimes, `$numberDecimal` Decimal, binaries bytes.
    What has no Python value (`$timestamp`, `$regularExpression` …) stays as it is written. Raises `InvalidEvent`.
    """
    if isinstance(value, list):
        return [decode_extended(item) for item in value]
    if not isinstance(value, dict):
        return value
    for name, unwrap in _WRAPPERS.items():
        if name in value:
            try:
                return unwrap(value)
            except (ValueError, TypeError, KeyError, OverflowError, ArithmeticError) as error:
                raise InvalidEvent(f"a {name} that is not Extended JSON") from error
    return {name: decode_extended(item) for name, item in value.items()}


def _date(wrapped: Mapping[str, Any]) -> datetime:
    moment = wrapped["$date"]
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).astimezone(UTC)
    return _EPOCH + timedelta(milliseconds=int(moment["$numberLong"] if isinstance(moment, dict) else moment))


def _binary(wrapped: Mapping[str, Any]) -> bytes:
    content = wrapped["$binary"]
    return base64.b64decode(content["base64"] if isinstance(content, dict) else content, validate=True)


def _double(wrapped: Mapping[str, Any]) -> float:
    number = float(wrapped["$numberDouble"])
    if not math.isfinite(number):
        raise ValueError("neither NaN nor Infinity has a JSON or SQL value")
    return number


_WRAPPERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "$oid": lambda wrapped: str(wrapped["$oid"]),
    "$date": _date,
    "$numberLong": lambda wrapped: int(wrapped["$numberLong"]),
    "$numberInt": lambda wrapped: int(wrapped["$numberInt"]),
    "$numberDouble": _double,
    "$numberDecimal": lambda wrapped: Decimal(wrapped["$numberDecimal"]),
    "$binary": _binary,
    "$uuid": lambda wrapped: str(wrapped["$uuid"]),
    "$symbol": lambda wrapped: str(wrapped["$symbol"]),
    "$undefined": lambda _wrapped: None,
}
