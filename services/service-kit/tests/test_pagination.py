"""Opaque cursors."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor


@given(st.integers(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_cursor_is_decoded_as_it_was_encoded(number: int, word: str) -> None:
    assert decode_cursor(encode_cursor(number, word), int, str) == (number, word)


@given(st.text())
def test_any_other_text_is_an_invalid_cursor(text: str) -> None:
    with contextlib.suppress(InvalidCursor):
        assert [type(part) for part in decode_cursor(text, int, str)] == [int, str]
