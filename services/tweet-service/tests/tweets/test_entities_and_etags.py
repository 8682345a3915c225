"""Text, entities and entity tags: rules without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweet_service.tweets.entities import extract
from tweet_service.tweets.etags import allows_edit_of, is_current


@pytest.mark.parametrize(
    ("text", "hashtags"),
    [
        ("#one #two", ["one", "two"]),
        ("#1 is no tag, #1st is", ["1st"]),
        ("a#b ##c &#d", []),
        ("#日本語 #naïve #हिन्दी", ["日本語", "naïve", "हिन्दी"]),
        ("＃wide", ["wide"]),
        ("#tag.", ["tag"]),
        ("https://x.org/#frag", []),
    ],
)
def test_hashtags(text: str, hashtags: list[str]) -> None:
    assert [found["tag"] for found in extract(text)["hashtags"]] == hashtags


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("@ada @bob_1", ["ada", "bob_1"]),
        ("mail a@b.org", []),
        ("@ada@example.org", []),
        ("(@ada), @bob!", ["ada", "bob"]),
        ("@" + "x" * 31, []),
        ("@\u0301 @ada\u0301", []),
    ],
)
def test_mentions(text: str, mentions: list[str]) -> None:
    assert [found["username"] for found in extract(text)["mentions"]] == mentions


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://a.org/x, and http://b.org.", ["https://a.org/x", "http://b.org"]),
        ("(https://en.wikipedia.org/wiki/X_(y))", ["https://en.wikipedia.org/wiki/X_(y)"]),
        ("https://", []),
        ("javascript:alert(1) ftp://x.org", []),
    ],
)
def test_urls(text: str, urls: list[str]) -> None:
    assert [found["url"] for found in extract(text)["urls"]] == urls


@given(st.text(alphabet=st.sampled_from("#@a1 _./:hts\u0301é日👩\u200d"), max_size=60))
def test_offsets_point_at_the_entity_as_written(text: str) -> None:
    entities = extract(text)
    for hashtag in entities["hashtags"]:
        assert text[hashtag["start"] + 1 : hashtag["end"]] == hashtag["tag"]
    for mention in entities["mentions"]:
        assert text[mention["start"] + 1 : mention["end"]] == mention["username"]
    for url in entities["urls"]:
        assert text[url["start"] : url["end"]] == url["url"]


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ('"3"', True),
        ('"3-0a1b"', True),
        ('W/"3-0a1b"', True),
        ('"2", "3"', True),
        ("*", True),
        ('"4"', False),
        ("3", False),
        ('"3-xyz"', False),
        ("", False),
    ],
)
def test_edit_is_allowed_by_the_version(header: str, allowed: bool) -> None:
    assert allows_edit_of(header, 3) is allowed


@pytest.mark.parametrize(
    ("header", "current"), [('"3-aa"', True), ('W/"3-aa"', True), ('"x", "3-aa"', True), ("*", True), ('"3"', False)]
)
def test_cached_copy_is_current_only_with_the_whole_tag(header: str, current: bool) -> None:
    assert is_current(header, '"3-aa"') is current
