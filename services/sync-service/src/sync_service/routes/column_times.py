"""Dates and times of MySQL's columns, as Debezium writes them. Pure.

With `time.precision.mode=microseconds`, a DATE is days since 1970, a DATETIME microseconds since 1970, and a TIME
microseconds, of any sign and length. (A TIMESTAMP is text in every mode.) With `isostring` all are text, and a TIME is
only exact from 00:00:00 to 23:59:59.999999.

In both modes, a zero date in a column that is NOT NULL is written as 1970-01-01.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sync_service.routes.converters import CONVERSIONS, Conversion, ConversionError, FieldType
from sync_service.routes.json_values import time_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The numbers that a DATE can have. As microseconds they are within three seconds of 1970-01-01 00:00:00.
_DAYS = range((datetime.min - datetime(1970, 1, 1)).days, (datetime.max - datetime(1970, 1, 1)).days + 1)  # noqa: DTZ001, DTZ901 - days have no zone
# It equals no value.
_NOTHING = object()
_LONGEST_TIME = timedelta(hours=838, minutes=59, seconds=59, microseconds=999_999)


def _day(days: int) -> str:
    return (_EPOCH.date() + timedelta(days=days)).isoformat()


def _moment(microseconds: int) -> datetime:
    # The day 0 and the moment 0 are the same.
    if microseconds and microseconds in _DAYS:
        raise ConversionError("it is a DATE, which date copies, or less than 3 seconds from 1970-01-01 00:00:00")
    return _EPOCH + timedelta(microseconds=microseconds)


def _time(microseconds: int) -> str:
    duration = timedelta(microseconds=microseconds)
    if abs(duration) > _LONGEST_TIME:
        raise ConversionError("it is longer than 838:59:59")
    return time_text(duration)


def _column_time(field_type: FieldType, convert_number: Callable[[int], Any], *, refused: Any = _NOTHING) -> Conversion:
    """`refused` is the result that may come from a zero date."""
    convert_text = CONVERSIONS[field_type].convert

    def convert(value: Any) -> Any:
        converted = convert_number(value) if type(value) is int else convert_text(value)
        if converted == refused:
            raise ConversionError(
                "it is 1970-01-01, which Debezium writes for a zero date, too; if the column has none, declare "
                "zero_dates: false"
            )
        return converted

    return Conversion(field_type, convert)


COLUMN_TIMES: Mapping[FieldType, Conversion] = {
    "date": _column_time("date", _day, refused=_EPOCH.date().isoformat()),
    "datetime": _column_time("datetime", _moment, refused=_EPOCH),
    "time": _column_time("time", _time),
}

# For columns without zero dates.
WITHOUT_ZERO_DATES: Mapping[FieldType, Conversion] = {
    "date": _column_time("date", _day),
    "datetime": _column_time("datetime", _moment),
}
