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


def _with_numbers(field_type: FieldType, convert_number: Callable[[int], Any]) -> Conversion:
    convert_text = CONVERSIONS[field_type].convert

    def convert(value: Any) -> Any:
        return convert_number(value) if type(value) is int else convert_text(value)

    return Conversion(field_type, convert)


def _without_epoch(conversion: Conversion, epoch: Any) -> Conversion:
    def convert(value: Any) -> Any:
        converted = conversion.convert(value)
        if converted == epoch:
            raise ConversionError(
                "it is 1970-01-01, which Debezium writes for a zero date, too; if the column has none, declare "
                "zero_dates: false"
            )
        return converted

    return Conversion(conversion.field_type, convert)


_EPOCHS: Mapping[FieldType, Any] = {"date": _EPOCH.date().isoformat(), "datetime": _EPOCH}

# For columns without zero dates.
WITHOUT_ZERO_DATES: Mapping[FieldType, Conversion] = {
    "date": _with_numbers("date", _day),
    "datetime": _with_numbers("datetime", _moment),
}

COLUMN_TIMES: Mapping[FieldType, Conversion] = {
    "time": _with_numbers("time", _time),
    **{
        field_type: _without_epoch(conversion, _EPOCHS[field_type])
        for field_type, conversion in WITHOUT_ZERO_DATES.items()
    },
}
