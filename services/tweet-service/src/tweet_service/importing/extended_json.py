"""Numbers and dates in MongoDB's Extended JSON (canonical, relaxed, legacy v1) and in plain JSON. Pure.

https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/

Only used values are unwrapped, where they are used: a tweet has a hundred wrapped values, and an import needs ten.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The largest integers that a double represents exactly (IEEE 754: 53 bits).
_EXACT = 2**53
_DIGITS = re.compile(r"-?[0-9]{1,20}")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(MONTHS, 1)}
_TWITTER_DATE = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2}) ([0-9]{4})"
)


class ImpreciseNumberError(ValueError):
    """A double so large that it represents several integers."""


def integer(value: Any) -> int | None:
    """An integer in any notation; None for null. Raises `ValueError`, `ImpreciseNumberError`."""
    if value is None or type(value) is int:
        return value
    if type(value) is dict and len(value) == 1:
        ((name, content),) = value.items()
        unwrap = _WRAPPERS.get(name, _refuse)
        return unwrap(content)
    return _whole(value) if isinstance(value, float) else _written(value)


def _written(digits: Any) -> int:
    if type(digits) is int:
        return digits
    if isinstance(digits, str) and _DIGITS.fullmatch(digits):
        return int(digits)
    return _refuse(digits)


def _whole(number: float) -> int:
    if not math.isfinite(number) or number != int(number):
        return _refuse(number)
    if abs(number) >= _EXACT:
        raise ImpreciseNumberError(f"{number!r} is a double that has lost digits")
    return int(number)


def _double(content: Any) -> int:
    try:
        number = float(content) if isinstance(content, str | int | float) else math.nan
    except OverflowError:
        number = math.inf
    return _whole(number) if math.isfinite(number) else _refuse(content)


def _decimal(content: Any) -> int:
    try:
        number = Decimal(content if isinstance(content, str | int | float) else math.nan)
        # Checked before `int`, which would create all digits of 1E+6000.
        if number.is_finite() and abs(number) < 2**64 and number == number.to_integral_value():
            return int(number)
    except (InvalidOperation, TypeError, ValueError):
        pass
    return _refuse(content)


def _refuse(value: Any) -> int:
    raise ValueError(f"{str(value)[:40]!r} is not a whole number")


_WRAPPERS: Mapping[str, Callable[[Any], int | None]] = {
    "$numberLong": _written,
    "$numberInt": _written,
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$undefined": lambda _true: None,
}


def parse_time(value: Any) -> datetime:
    """A time in any notation, in UTC with milliseconds, as in MongoDB. Raises `ValueError`.

    "Thu Sep 02 18:11:23 +0000 2010", RFC 3339, `{"$date": …}` with a string, with milliseconds, or with `$numberLong`.
    A time without a time zone is in UTC.
    """
    if type(value) is dict and len(value) == 1 and "$date" in value:
        value = value["$date"]
        if not isinstance(value, str):
            return _since_epoch(integer(value))
    if isinstance(value, str) and (match := _TWITTER_DATE.fullmatch(value)):
        return _twitter_date(match)
    try:
        read = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError(f"{str(value)[:40]!r} is not a date") from None
    read = read.replace(tzinfo=UTC) if read.tzinfo is None else _in_utc(read)
    return read.replace(microsecond=read.microsecond // 1000 * 1000)


def _in_utc(read: datetime) -> datetime:
    try:
        return read.astimezone(UTC)
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None


def _since_epoch(milliseconds: int | None) -> datetime:
    if milliseconds is None:
        raise ValueError("null is not a date")
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None


def _twitter_date(match: re.Match[str]) -> datetime:
    month, sign = match[1], match[6]
    if month not in _MONTHS:
        raise ValueError(f"{month!r} is not a month")
    day, hour, minute, second, off_hours, off_minutes, year = map(int, match.group(2, 3, 4, 5, 7, 8, 9))
    read = datetime(year, _MONTHS[month], day, hour, minute, second, tzinfo=UTC)
    offset = timedelta(hours=off_hours, minutes=off_minutes)
    try:
        return read - offset if sign == "+" else read + offset
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None
