"""The types of copied fields, and how values of the source are converted: docs/conversions.md as code.

A value comes as Debezium writes it, or as a driver returns it; both are converted to the same value. All stores get the
same Python values. Times are aware, in UTC, to the microsecond.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, Inexact
from typing import Any, Literal
from uuid import UUID

import msgspec
from bson import Binary, Code, Decimal128, ObjectId
from bson.decimal128 import create_decimal128_context

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.json_numbers import InexactNumberError, decode_for_mysql
from sync_service.routes.json_values import jsonable, time_text

# The most digits that a decimal can have, in all and after the point: MySQL's limits.
MAXIMUM_PRECISION = 65
MAXIMUM_SCALE = 30

FieldType = Literal[
    "string",
    "text",
    "integer",
    "unsigned",
    "number",
    "decimal",
    "boolean",
    "datetime",
    "date",
    "time",
    "uuid",
    "binary",
    "bits",
    "json",
    "json_text",
]

# The errors of a converter for a value that does not fit. InvalidOperation and OverflowError are ArithmeticErrors.
CONVERSION_FAILURES = (ValueError, TypeError, ArithmeticError, RecursionError)


class ConversionError(ValueError):
    """Why a value does not fit, without the value: it may be personal, and the message is logged."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """`convert` converts a value to the type, or raises one of `CONVERSION_FAILURES`.

    A value whose class is exactly `unchanged` needs no conversion, which saves a call for each.
    """

    field_type: FieldType
    convert: Callable[[Any], Any]
    unchanged: type | None = None


def type_of_constant(constant: object) -> FieldType:
    """The type of a constant that a route writes into each row."""
    match constant:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case dict() | list():
            return "json"
    return "string"


def convert(value: Any, field_type: FieldType) -> Any:
    """The value, converted to the type; None stays None. Raises `UnfitValue`."""
    if value is None:
        return None
    try:
        return CONVERSIONS[field_type].convert(value)
    except CONVERSION_FAILURES as error:
        raise unfit_value(value, field_type, error) from error


def unfit_value(value: Any, field_type: FieldType, error: Exception) -> UnfitValue:
    """The error without the value, which the dead letter has."""
    reason = f": {error}" if isinstance(error, ConversionError) else ""
    return UnfitValue(f"a {type(value).__name__} that is no {field_type}{reason}")


def _string(value: Any) -> str:
    if isinstance(value, Code):
        raise TypeError  # code is a str to the driver, and a document in an event
    if isinstance(value, str):
        return value
    if isinstance(value, ObjectId | UUID):
        return str(value)
    if isinstance(value, Binary):
        return str(value.as_uuid())  # a ValueError unless it is one
    raise TypeError


def _integer(value: Any) -> int:
    number = _whole(value)
    if number not in _INT64:
        raise ConversionError("it is beyond 64 bits with a sign: use unsigned, or decimal")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, float | Decimal) and value == int(value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return int(value)


_UNSIGNED_MAXIMUM = 2**64 - 1
_INT64_MAXIMUM = 2**63 - 1
_INT64 = range(-(2**63), 2**63)


def _unsigned(value: Any) -> int | Decimal:
    """Debezium writes a BIGINT UNSIGNED as a Java long, in which the upper half is negative.

    BSON has no integers of that size, but decimals: what an int64 can't hold becomes one.
    """
    number = _whole(value)
    if number < 0:
        number += _UNSIGNED_MAXIMUM + 1
    if not 0 <= number <= _UNSIGNED_MAXIMUM:
        raise ConversionError("it is larger than 64 bits")
    return number if number <= _INT64_MAXIMUM else Decimal(number)


def _number(value: Any) -> float:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ConversionError("it is not finite")
    if isinstance(value, int) and number != value:
        raise ConversionError("a double can't hold it exactly")
    return number


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise TypeError
    # A binary fraction isn't the number that was written; its shortest text is.
    number = Decimal(str(value))
    if not number.is_finite():
        raise ConversionError("it is not finite")
    return number


def limited_decimal(precision: int, scale: int) -> Conversion:
    """Rejects numbers with more digits before or after the point. (MySQL would round the latter silently.)"""

    def convert(value: Any) -> Decimal:
        number = _decimal(value)
        if not number:
            # Written with its exponent, a zero may have millions of digits.
            return Decimal(0)
        if number.adjusted() >= precision - scale:
            raise ConversionError(f"it has more than {precision - scale} digits before the point")
        # Not by arithmetic, which has 28 digits.
        _, digits, exponent = number.as_tuple()
        beyond = -int(exponent) - scale
        if beyond > 0 and any(digits[-beyond:]):
            raise ConversionError(f"it has more than {scale} digits after the point")
        return number

    return Conversion("decimal", convert)


def _decimal128(value: Any) -> Decimal:
    try:
        return _DECIMAL128.create_decimal(_decimal(value))
    except Inexact as error:
        raise ConversionError("BSON has no decimals of so many digits") from error


# Decimals in a collection have 34 digits; Decimal128 itself would round longer ones silently.
_DECIMAL128 = create_decimal128_context()
_DECIMAL128.traps[Inexact] = True
DECIMAL128 = Conversion("decimal", _decimal128)


def _boolean(value: Any) -> bool:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    # MySQL's TINYINT(1) is a number in a snapshot and may be a boolean afterwards; a driver reads BIT(1) as a byte.
    if value in (0, 1):
        return bool(value)
    if value in (b"\0", b"\1"):
        return bool(value == b"\1")
    raise ValueError


_ZERO_DAY = "0000-00-00"


def _datetime(value: Any) -> datetime | None:
    if isinstance(value, str):
        if value.startswith(_ZERO_DAY):
            return None
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = _calendar_day(value)
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise TypeError
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - as UTC, below
    moment: datetime = value
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def whole_milliseconds(conversion: Conversion) -> Conversion:
    """For BSON's dates in a key: one with microseconds would be the key of other rows, too."""

    def convert(value: Any) -> datetime | None:
        moment: datetime | None = conversion.convert(value)
        if moment is not None and moment.microsecond % 1000:
            raise ConversionError(
                "MongoDB's dates have milliseconds, and a key can't be cut: use string for this column, or integer if "
                "its events have numbers"
            )
        return moment

    return Conversion("datetime", convert)


def _calendar_day(text: str) -> date:
    """Debezium marks even a day as UTC: `2026-11-24Z`."""
    return date.fromisoformat(text.removesuffix("Z"))


def _date(value: Any) -> str | None:
    """`YYYY-MM-DD`: BSON has no type for a day without a time. MySQL's day zero is null, as it is in an event."""
    if isinstance(value, str):
        return None if value == _ZERO_DAY else _calendar_day(value).isoformat()
    if isinstance(value, datetime):
        if value.time() != time():
            raise ConversionError("it has a time of day")
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError


_TIME = re.compile(r"(-?)(\d{2,3}):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?Z?", re.ASCII)


def _time(value: Any) -> str:
    """`HH:MM:SS`, with six digits more if there is a fraction: BSON has no type for a time without a day."""
    if isinstance(value, time | timedelta):
        return time_text(value)
    if not (found := _TIME.fullmatch(value)):
        raise ValueError
    sign, hours, minutes, seconds, fraction = found.groups()
    duration = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=int(f"{fraction or '0':0<6}")
    )
    # One text for each duration: there is neither `-00:00:00` nor `001:00:00`.
    return time_text(-duration if sign else duration)


def _uuid(value: Any) -> str:
    if isinstance(value, bytes):
        value = UUID(bytes=bytes(value))
    elif isinstance(value, str):
        value = UUID(value)
    if not isinstance(value, UUID):
        raise TypeError
    return str(value)


def _binary(value: Any) -> bytes:
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if isinstance(value, UUID):
        return value.bytes
    if not isinstance(value, bytes):
        raise TypeError
    return bytes(value)


def _bits(value: Any) -> int | Decimal:
    """BIT(n) as a number: Debezium writes its bytes from the lowest on, in base64; a driver gives the highest first."""
    if isinstance(value, str):
        return _unsigned(int.from_bytes(base64.b64decode(value, validate=True), "little"))
    if isinstance(value, bytes):
        return _unsigned(int.from_bytes(value, "big"))
    return _unsigned(value)


# As Debezium writes a GEOMETRY; a POINT has x and y too.
_SPATIAL = frozenset({"wkb", "srid"})


def _json(value: Any) -> Any:
    if type(value) is dict and value.keys() >= _SPATIAL:
        raise ConversionError("spatial values are not copied")
    return jsonable(value)


def json_text_conversion(decode: Callable[[str], Any]) -> Conversion:
    """The conversion of text that holds JSON, by one of `json_numbers`."""

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError
        try:
            return decode(value)
        except InexactNumberError as error:
            raise ConversionError(str(error)) from error
        except msgspec.DecodeError as error:
            raise ConversionError("it is not JSON") from error

    return Conversion("json_text", convert)


CONVERSIONS: Mapping[FieldType, Conversion] = {
    conversion.field_type: conversion
    for conversion in (
        Conversion("string", _string, str),
        Conversion("text", _string, str),
        Conversion("integer", _integer, int),
        Conversion("unsigned", _unsigned),
        Conversion("number", _number),
        Conversion("decimal", _decimal),
        Conversion("boolean", _boolean, bool),
        Conversion("datetime", _datetime),
        Conversion("date", _date),
        Conversion("time", _time),
        Conversion("uuid", _uuid),
        Conversion("binary", _binary, bytes),
        Conversion("bits", _bits),
        Conversion("json", _json, str),
        json_text_conversion(decode_for_mysql),
    )
}
