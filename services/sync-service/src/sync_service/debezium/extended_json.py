"""MongoDB Extended JSON, as Debezium's connector writes it: documents in strict v1, ids in v2 relaxed.

https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/ (and, for strict v1, `JsonMode.STRICT` of the Java
driver; Debezium's `JsonSerialization` uses both modes).

A document of the application may have fields whose names begin with a dollar, too: `{"$date": "my own"}`. So a document
counts as a value of another type only if the connector would write that type exactly so. An `_id` has no such names,
because MongoDB refuses them, so every form of a type is accepted there.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from bson import Binary, ObjectId
from bson.errors import InvalidId

from sync_service.debezium.errors import InvalidEvent

UUID_SUBTYPE = 4

_UUID_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)
_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_SUBTYPE = re.compile(r"[0-9A-Fa-f]{2}")
# The value of a document that is none of the wrappers.
_OWN = object()


def decode_document(value: Any) -> Any:
    """Replace the type wrappers of a parsed document, in strict v1, with Python values.

    ObjectIds become their 24 hexadecimal digits, dates aware datetimes, `$numberDecimal` Decimal, binaries bytes and
    those of subtype 4 UUIDs. What has no Python value (`$timestamp`, `$regex`, a `$date` beyond the year 9999 …)
    stays as it is written, and so do the application's own documents.
    """
    kind = type(value)
    if kind is dict:
        unwrap = _WRAPPERS.get(next(iter(value), ""))
        if unwrap is not None and (unwrapped := unwrap(value)) is not _OWN:
            return unwrapped
        # Most values are neither dicts nor lists: a call for each would take most of the time.
        return {
            name: decode_document(item) if type(item) is dict or type(item) is list else item
            for name, item in value.items()
        }
    if kind is list:
        return value and [decode_document(item) if type(item) is dict or type(item) is list else item for item in value]
    return value


def is_ambiguous(document: Mapping[str, Any]) -> bool:
    """Is this document of the application written as a value of another type is? Then an event has that value."""
    name = next(iter(document), "")
    if not name.startswith("$") or (unwrap := _WRAPPERS.get(name)) is None:
        return False
    return unwrap(document) not in (_OWN, document)


def decode_id(value: Any) -> Any:
    """A parsed `_id`, with its type: an ObjectId is an `ObjectId`, a binary of a subtype but 0 and 4 a `Binary`.

    Everything else is as in `decode_document`. Raises `InvalidEvent`.
    """
    if isinstance(value, list):
        return [decode_id(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = next(iter(value), "")
    if (unwrap := _ID_WRAPPERS.get(name)) is None:
        return {name: decode_id(item) for name, item in value.items()}
    try:
        return unwrap(value)
    except (ValueError, TypeError, KeyError, ArithmeticError, InvalidId) as error:
        raise InvalidEvent(f"a {name} that is not Extended JSON") from error


def _oid(wrapped: Mapping[str, Any]) -> Any:
    digits = wrapped["$oid"]
    return digits if len(wrapped) == 1 and isinstance(digits, str) and _OBJECT_ID.fullmatch(digits) else _OWN


def _date(wrapped: Mapping[str, Any]) -> Any:
    milliseconds = wrapped["$date"]
    if len(wrapped) != 1 or type(milliseconds) is not int or milliseconds not in _INT64:
        return _OWN
    return _moment(milliseconds, wrapped)


def _moment(milliseconds: int, wrapped: Mapping[str, Any]) -> Any:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return wrapped


def _number_long(wrapped: Mapping[str, Any]) -> Any:
    digits = wrapped["$numberLong"]
    if len(wrapped) != 1 or not isinstance(digits, str) or not _WHOLE.fullmatch(digits):
        return _OWN
    number = int(digits)
    return number if number in _INT64 else _OWN


def _number_decimal(wrapped: Mapping[str, Any]) -> Any:
    digits = wrapped["$numberDecimal"]
    if len(wrapped) != 1 or not isinstance(digits, str):
        return _OWN
    try:
        return Decimal(digits)
    except InvalidOperation:
        return _OWN


def _binary(wrapped: Mapping[str, Any]) -> Any:
    encoded, subtype = wrapped["$binary"], wrapped.get("$type")
    if len(wrapped) != 2 or not isinstance(encoded, str) or not isinstance(subtype, str):
        return _OWN
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except ValueError:
        return _OWN
    if not _SUBTYPE.fullmatch(subtype):
        return _OWN
    return UUID(bytes=decoded) if int(subtype, 16) == UUID_SUBTYPE and len(decoded) == _UUID_BYTES else decoded


def _symbol(wrapped: Mapping[str, Any]) -> Any:
    text = wrapped["$symbol"]
    return text if len(wrapped) == 1 and isinstance(text, str) else _OWN


def _undefined(wrapped: Mapping[str, Any]) -> Any:
    return None if len(wrapped) == 1 and wrapped["$undefined"] is True else _OWN


# By the first name of the document. Each returns `_OWN` for one of the application.
_WRAPPERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "$oid": _oid,
    "$date": _date,
    "$numberLong": _number_long,
    "$numberDecimal": _number_decimal,
    "$binary": _binary,
    "$symbol": _symbol,
    "$undefined": _undefined,
}


def _id_date(wrapped: Mapping[str, Any]) -> Any:
    moment = wrapped["$date"]
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).astimezone(UTC)
    milliseconds = int(moment["$numberLong"] if isinstance(moment, dict) else moment)
    if milliseconds not in _INT64:
        raise ValueError("a date has 64 bits")
    return _moment(milliseconds, wrapped)


def _id_binary(wrapped: Mapping[str, Any]) -> bytes | UUID:
    content = wrapped["$binary"]
    if isinstance(content, dict):
        encoded, subtype = content["base64"], content["subType"]
    else:
        encoded, subtype = content, wrapped.get("$type", "00")
    decoded, number = base64.b64decode(encoded, validate=True), int(subtype, 16)
    if number == UUID_SUBTYPE and len(decoded) == _UUID_BYTES:
        return UUID(bytes=decoded)
    return Binary(decoded, number) if number else decoded


def _id_double(wrapped: Mapping[str, Any]) -> float:
    number = float(wrapped["$numberDouble"])
    if not math.isfinite(number):
        raise ValueError("neither NaN nor Infinity has a JSON or SQL value")
    return number


_ID_WRAPPERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "$oid": lambda wrapped: ObjectId(str(wrapped["$oid"])),
    "$date": _id_date,
    "$numberLong": lambda wrapped: int(wrapped["$numberLong"]),
    "$numberInt": lambda wrapped: int(wrapped["$numberInt"]),
    "$numberDouble": _id_double,
    "$numberDecimal": lambda wrapped: Decimal(wrapped["$numberDecimal"]),
    "$binary": _id_binary,
    "$uuid": lambda wrapped: UUID(wrapped["$uuid"]),
    "$symbol": lambda wrapped: str(wrapped["$symbol"]),
    "$undefined": lambda _wrapped: None,
}
