"""JSON as MySQL writes it. Pure.

MySQL keeps JSON parsed: names are ordered by their length in bytes and then by their bytes, and separators are
", " and ": " (MySQL manual, "The JSON Data Type"). Doubles have the fewest digits that identify them, and a point.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from bson import Decimal128

from sync_service.routes.json_values import jsonable

# Beyond so many places from the point, MySQL writes an exponent (MAX_DECPT_FOR_F_FORMAT in its dtoa.cc), unless there
# are digits after the point all the same.
_PLACES = 15

_escaped: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode


def double_text(number: float) -> str:
    """A finite double as JSON has it: `0.1`, `1e20`, `-1.5e-15`, `7.0`. Raises `ValueError` for NaN and infinities."""
    if number - number != 0:
        raise ValueError("neither NaN nor an infinity is JSON")
    sign = "-" if repr(number)[0] == "-" else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The position of the point, counted from the first digit that is not zero.
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0.0"
    if not -_PLACES < point <= max(_PLACES, len(digits) - 1):
        rest = f".{digits[1:]}" if digits[1:] else ""
        return f"{sign}{digits[0]}{rest}e{point - 1}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits.ljust(point, '0')}.0"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def json_text(value: Any) -> str:
    """A JSON value as `CAST(… AS CHAR)` writes it; other values as `jsonable` converts them.

    Raises `ValueError` as `double_text` does.
    """
    kind = type(value)
    if kind is dict:
        return f"{{{', '.join([prefix + json_text(value[name]) for name, prefix in _ordered(tuple(value))])}}}"
    if kind is list:
        return f"[{', '.join([json_text(item) for item in value])}]"
    write = _WRITTEN.get(kind)
    return json_text(jsonable(value)) if write is None else write(value)


_WRITTEN: Mapping[type, Callable[[Any], str]] = {
    str: _escaped,
    int: str,
    float: double_text,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _value: "null",
    # A number of JSON text that no double has (`routes.json_numbers`).
    Decimal128: lambda value: f"{value.to_decimal():f}",
}


# The same few sets of names occur again and again; the limit is for documents whose names are data.
@lru_cache(maxsize=4096)
def _ordered(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names in MySQL's order, each with the text before its value."""
    ordered = sorted(names, key=lambda name: (len(name.encode()), name.encode()))
    return [(name, f"{_escaped(name)}: ") for name in ordered]
