"""Whether an existing column holds the values of a route. Pure.

MySQL refuses most values that do not fit, and they become dead letters. Only those that it would change without an
error matter here: it rounds numbers and fractions of a second, and cuts the time off (MySQL manual, "Rounding
Behavior", "Conversion Between Date and Time Types").
"""

import re
from dataclasses import dataclass

_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?")
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_NUMBERS = _INTEGERS | {"decimal", "float", "double", "bit", "year"}
_TIMES = frozenset({"date", "time", "datetime", "timestamp"})
_HAS_FRACTIONS = _TIMES - {"date"}


@dataclass(frozen=True, slots=True)
class _Type:
    """`digits` are the precision, or the digits of a second's fraction; `scale` is of a DECIMAL."""

    name: str
    digits: int
    scale: int

    @classmethod
    def of(cls, written: str) -> "_Type":
        found = _TYPE.match(written.lower())
        if found is None:
            return cls(written.lower(), 0, 0)
        return cls(found[1], int(found[2] or 0), int(found[3] or 0))


def changes_values(existing: str, wanted: str) -> bool:
    """Would the `existing` type change values of the `wanted` one without an error? Both as in a CREATE TABLE."""
    there, needed = _Type.of(existing), _Type.of(wanted)
    if there.name in _TIMES or needed.name in _TIMES:
        return _changes_times(there, needed)
    if needed.name == "decimal":
        return there.name in _NUMBERS and (there.name != "decimal" or there.scale < needed.scale)
    if needed.name == "double":
        return there.name in _NUMBERS - {"double"}
    return needed.name in _INTEGERS and there.name in {"float", "double"}


def _changes_times(there: _Type, needed: _Type) -> bool:
    """A number that is written to a time, or a time to a number, is refused or changed, depending on the value."""
    if there.name in _NUMBERS or needed.name in _NUMBERS:
        return True
    if needed.name not in _TIMES or there.name not in _TIMES:
        return False
    if there.name != needed.name and (needed.name, there.name) != ("date", "datetime"):
        return True
    return needed.name in _HAS_FRACTIONS and there.digits < needed.digits
