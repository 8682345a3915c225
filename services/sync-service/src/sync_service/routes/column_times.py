"""Times of MySQL's columns as numbers, as Debezium writes them with `time.precision.mode=microseconds`. Pure.

A DATE is days since 1970, a DATETIME microseconds since 1970, a TIME microseconds, of any sign and length. (A TIMESTAMP
is text in every mode.) With `isostring` all are text, and a TIME is only exact from 00:00:00 to 23:59:59.999999.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sync_service.routes.converters import CONVERSIONS, Conversion, ConversionError, FieldType
from sync_service.routes.json_values import time_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The numbers that a DATE can have. As microseconds they are within three seconds of 1970-01-01 00:00:00, and 0 is what
# Debezium writes for a zero DATETIME in a column that is NOT NULL.
_DAYS = range((datetime.min - datetime(1970, 1, 1)).days, (datetime.max - datetime(1970, 1, 1)).days + 1)  # noqa: DTZ001, DTZ901 - days have no zone
# What Debezium writes for a zero TIMESTAMP in a column that is NOT NULL; no TIMESTAMP has this value. As text, a zero
# DATETIME looks so, too.
_ZERO_MOMENT = "1970-01-01T00:00:00Z"
_LONGEST_TIME = timedelta(hours=838, minutes=59, seconds=59, microseconds=999_999)


def _day(days: int) -> str:
    if days == 0:
        raise ConversionError("it is 1970-01-01, which Debezium writes for a zero date, too; integer takes the days")
    return (_EPOCH.date() + timedelta(days=days)).isoformat()


def _moment(microseconds: int) -> datetime:
    if microseconds in _DAYS:
        raise ConversionError(
            "it is a DATE, which date copies, or about 1970-01-01 00:00:00, which Debezium writes for a zero date, too"
        )
    return _EPOCH + timedelta(microseconds=microseconds)


def _time(microseconds: int) -> str:
    duration = timedelta(microseconds=microseconds)
    if abs(duration) > _LONGEST_TIME:
        raise ConversionError("it is longer than 838:59:59")
    return time_text(duration)


def _with_numbers(conversion: Conversion, convert_number: Callable[[int], Any]) -> Conversion:
    def convert(value: Any) -> Any:
        if type(value) is int:
            return convert_number(value)
        if value == _ZERO_MOMENT:
            raise ConversionError("it is 1970-01-01 00:00:00, which Debezium writes for a zero date, too")
        return conversion.convert(value)

    return Conversion(conversion.field_type, convert)


_NUMBERS: Mapping[FieldType, Callable[[int], Any]] = {"date": _day, "datetime": _moment, "time": _time}

COLUMN_TIMES: Mapping[FieldType, Conversion] = {
    field_type: _with_numbers(CONVERSIONS[field_type], convert_number)
    for field_type, convert_number in _NUMBERS.items()
}
