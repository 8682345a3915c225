"""Numbers of JSON text keep all their digits, or are refused."""

import json
import struct
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128
from hypothesis import example, given
from hypothesis import strategies as st

from sync_service.routes.json_numbers import InexactNumberError, decode_for_bson, decode_for_mysql
from sync_service.sinks.mysql.json_text import json_text


@pytest.mark.parametrize(
    ("text", "for_bson"),
    [
        ("12345678901234567890.12345678901234", Decimal128("12345678901234567890.12345678901234")),
        ("0.12345678901234567", Decimal128("0.12345678901234567")),
        ("-123456789012345678901234567890", Decimal128("-123456789012345678901234567890")),
        ("18446744073709551615", Decimal128("18446744073709551615")),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.10", 1.1),
        ("4.9E-324", 5e-324),  # as Java writes the smallest double
        ("1.0E22", 1e22),
        ("10000000000000000000000", 1e22),
        ("10000000.0", 10_000_000),
        ("9999999.0", 9999999.0),
        (
            "5.960464477539063e-08",
            2.0**-24,
        ),  # its 16 digits are rounded up, and half of the way is also rounded to even
        ("1e400", Decimal128("1E+400")),
    ],
)
def test_numbers_beyond_a_double_become_decimals_of_bson(text: str, for_bson: Any) -> None:
    assert decode_for_bson(f'{{"a": [{text}]}}') == {"a": [for_bson]}


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70).map(float))
def test_double_is_the_same_from_a_snapshot_and_from_the_log(number: float) -> None:
    from_snapshot = json.dumps(number)
    shown_without_exponent = not 1e-3 <= abs(number) < 1e7 and number != 0
    from_log = f"{Decimal(number):f}" if shown_without_exponent else from_snapshot
    decoded = [decode_for_bson(text) for text in (from_snapshot, from_log)]
    assert struct.pack("d", decoded[0]) == struct.pack("d", number)
    assert [(type(each), each) for each in decoded[1:]] == [(type(decoded[0]), decoded[0])]
    assert decode_for_mysql(from_snapshot) == decode_for_mysql(from_log) == number


@given(st.integers(0, 10**34 - 1), st.integers(0, 30))
@example(17590770082787750, 4)
def test_every_decimal_of_34_digits_keeps_them(digits: int, scale: int) -> None:
    """As MySQL writes a DECIMAL in JSON: compared as what both sides of a comparison see."""
    text = f"{digits // 10**scale}.{digits % 10**scale:0{scale}d}" if scale else str(digits)
    decoded = decode_for_bson(text)
    shown = json_text(decoded)
    if isinstance(decoded, int):
        assert decoded == Decimal(text)
    elif isinstance(decoded, float):
        assert Decimal(text) in (Decimal(repr(decoded)), Decimal(f"{decoded:.{scale}f}"))
    else:
        assert shown.rstrip("0").rstrip(".") in (text, text.rstrip("0").rstrip("."))


@pytest.mark.parametrize("text", ["9" * 35, f"0.{'123456789' * 4}", f"[{'9' * 35}]"])
def test_number_of_more_digits_than_bson_has_is_refused(text: str) -> None:
    with pytest.raises(InexactNumberError, match="34 digits"):
        decode_for_bson(text)


@pytest.mark.parametrize("text", ["12345678901234567890.123456789", "0.12345678901234567", "1e400"])
def test_fraction_that_mysql_would_cut_is_refused(text: str) -> None:
    with pytest.raises(InexactNumberError, match="double"):
        decode_for_mysql(text)


@pytest.mark.parametrize("text", [str(2**64 + 1), str(-(2**63) - 1)])
def test_whole_number_that_mysql_would_make_a_double_is_refused(text: str) -> None:
    with pytest.raises(InexactNumberError, match="64 bits"):
        decode_for_mysql(text)
    assert decode_for_mysql(str(2**64 - 1)) == 2**64 - 1


def test_digits_that_a_copy_has_lost_are_a_difference() -> None:
    exact = decode_for_bson("12345678901234567890.123456789")
    assert json_text({"a": exact}) != json_text({"a": float("12345678901234567890.123456789")})
