"""Numbers of single precision: MySQL's FLOAT and the elements of a VECTOR. Pure."""

import struct
from typing import Any

# MySQL prints a FLOAT with so many digits (FLT_DIG), and so does a snapshot of Debezium's.
FLOAT_DIGITS = 6
_MOST_DIGITS = 9


def single(number: Any) -> float:
    """The number of the fewest digits that is the same in single precision, as Java writes one: 0.1 for 0.100000001."""
    exact = _rounded(number)
    return next(
        (
            short
            for digits in range(FLOAT_DIGITS, _MOST_DIGITS)
            if _rounded(short := float(f"{exact:.{digits}g}")) == exact
        ),
        float(f"{exact:.{_MOST_DIGITS}g}"),
    )


def single_text(number: Any) -> str:
    """The digits that every way of the number has: those of a snapshot."""
    return f"{_rounded(number):.{FLOAT_DIGITS}g}"


def _rounded(number: Any) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", number))
    return float(rounded)
