"""Decodes JSON without losing digits of its numbers. Pure.

MySQL's JSON has integers of 64 bits with and without a sign, doubles, and decimals of up to 65 digits. Its text says
only what the number is, so a number is a double if that has all its digits.

Debezium reads JSON from the log in binary form, and writes doubles from 10^7 on, and those below 0.001, without an
exponent and with all digits of the binary fraction (`JsonStringFormatter` of its MySQL client); a snapshot has MySQL's
text. Both must have one result: a whole double from 10^7 on becomes an integer if it is one of 64 bits.
"""

from collections.abc import Callable
from decimal import Decimal, Inexact, InvalidOperation
from typing import Any

import msgspec
from bson import Decimal128
from bson.decimal128 import create_decimal128_context

_INT64 = range(-(2**63), 2**63)
_UINT64_MAXIMUM = 2**64 - 1
_WITHOUT_POINT = 1e7

_decimal128 = create_decimal128_context()
_decimal128.traps[Inexact] = True


class InexactNumberError(ValueError):
    """A number that the store can't hold with all its digits; the reason, without the number."""


def decode_for_bson(text: str) -> Any:
    """Numbers that neither an int64 nor a double has become Decimal128.

    Raises `InexactNumberError`, `msgspec.DecodeError`.
    """
    return _decode(_bson_decoder, text, _large_for_bson)


def decode_for_mysql(text: str) -> Any:
    """MySQL itself reads JSON text, and has no decimals then. Raises `InexactNumberError`, `msgspec.DecodeError`."""
    return _decode(_mysql_decoder, text, _large_for_mysql)


def _decode(decoder: "msgspec.json.Decoder[Any]", text: str, convert_large: Callable[[int], Any]) -> Any:
    try:
        return _large_integers(decoder.decode(text), convert_large)
    except msgspec.ValidationError as error:
        # msgspec's error for one of the hook. It is about nothing else, because no type is expected.
        raise InexactNumberError(str(error)) from error


def _number_of_bson(digits: str) -> int | float | Decimal128:
    double = _exact_double(digits)
    if double is None:
        return _as_decimal128(Decimal(digits))
    is_integer = abs(double) >= _WITHOUT_POINT and double.is_integer() and int(double) in _INT64
    return int(double) if is_integer else double


def _double(digits: str) -> float:
    double = _exact_double(digits)
    if double is None:
        raise InexactNumberError("a number in it has more digits than a double")
    return double


def _exact_double(digits: str) -> float | None:
    """The double if it has all digits of the number; None if it has not.

    It has if they are its shortest ones, or if it is the number again when it is written with as many digits.
    """
    number, double = Decimal(digits), float(digits)
    if double - double != 0:
        return None
    if Decimal(repr(double)) == number:
        return double
    significant = len(number.as_tuple().digits)
    return double if Decimal(f"{double:.{significant - 1}e}") == number else None


def _as_decimal128(number: Decimal | int) -> Decimal128:
    try:
        return Decimal128(_decimal128.create_decimal(number))
    except (Inexact, InvalidOperation) as error:
        raise InexactNumberError("a number in it has more than 34 digits, the most of BSON's decimals") from error


def _large_for_bson(number: int) -> float | Decimal128:
    return float(number) if _is_double(number) else _as_decimal128(number)


def _large_for_mysql(number: int) -> int:
    if not 0 <= number <= _UINT64_MAXIMUM and not _is_double(number):
        raise InexactNumberError("a whole number in it has more than 64 bits, and more digits than a double")
    return number


def _is_double(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _large_integers(value: Any, convert: Callable[[int], Any]) -> Any:
    """Replace integers beyond int64. Everything else stays as it is."""
    if type(value) is int:
        return value if value in _INT64 else convert(value)
    if type(value) is dict:
        return {name: _large_integers(item, convert) for name, item in value.items()}
    if type(value) is list:
        return [_large_integers(item, convert) for item in value]
    return value


_bson_decoder = msgspec.json.Decoder(float_hook=_number_of_bson)
_mysql_decoder = msgspec.json.Decoder(float_hook=_double)
