"""Reading and mapping datasets: rules without a database."""

import contextlib
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tweet_dataset import write_dataset
from tweet_service.importing import reading, service
from tweet_service.importing.extended_json import ImpreciseNumberError, integer, parse_time
from tweet_service.importing.mapping import (
    MAX_CODE_POINTS,
    SourceTweet,
    Unusable,
    content_of,
    digest_of,
    object_id,
    read_tweet,
)
from tweet_service.importing.reading import Record, Source, split_array, split_lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = datetime(2010, 9, 2, 18, 11, 23, tzinfo=UTC)
Json = dict[str, Any]


def plain(**more: Any) -> Json:
    return {
        "id": 22_819_396_900,
        "text": "hello #tandem",
        "created_at": "Thu Sep 02 18:11:23 +0000 2010",
        "source": "web",
        "user": {"id": 42, "screen_name": "ada", "name": "Ada", "created_at": "Mon Feb 18 13:37:57 +0000 2008"},
        **more,
    }


def read(document: Any) -> SourceTweet:
    return read_tweet(Record(1, json.dumps(document).encode()), NOW)


def reason_of(raw: bytes) -> str:
    with pytest.raises(Unusable) as refused:
        read_tweet(Record(1, raw), NOW)
    return str(refused.value)


# --- numbers and dates


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (7, 7),
        ("7", 7),
        (7.0, 7),
        ({"$numberLong": "7"}, 7),
        ({"$numberLong": 7}, 7),
        ({"$numberInt": "7"}, 7),
        ({"$numberDouble": "7.0"}, 7),
        ({"$numberDecimal": "7"}, 7),
        ({"$undefined": True}, None),
        (2.0**53 - 1, 2**53 - 1),
    ],
)
def test_integer_of_every_spelling(value: Any, expected: int | None) -> None:
    assert integer(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        "",
        "1.0",
        "１",
        7.5,
        [],
        {},
        {"$numberLong": "x"},
        {"$numberLong": "7", "more": 1},
        {"$numberDouble": "NaN"},
        {"$numberDouble": "Infinity"},
        {"$numberDouble": None},
        {"$numberDouble": 10**400},
        {"$numberDecimal": "1E+6000"},
        {"$numberDecimal": []},
        {"$numberDecimal": [0, [7], 10**400]},
        {"$oid": "0" * 24},
    ],
)
def test_invalid_integer_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        integer(value)


@pytest.mark.parametrize("value", [2.0**53, {"$numberDouble": "1.2e+18"}, -(2.0**60)])
def test_double_that_has_lost_digits_is_refused(value: Any) -> None:
    with pytest.raises(ImpreciseNumberError):
        integer(value)


@pytest.mark.parametrize(
    "value",
    [
        "Thu Sep 02 18:11:23 +0000 2010",
        "Thu Sep 02 20:11:23 +0200 2010",
        "Thu Sep 02 14:41:23 -0330 2010",
        "2010-09-02T18:11:23Z",
        "2010-09-02T20:11:23.000999+02:00",
        "2010-09-02 18:11:23",
        {"$date": "2010-09-02T18:11:23Z"},
        {"$date": "2010-09-02T18:11:23.000Z"},
        {"$date": 1283451083000},
        {"$date": {"$numberLong": "1283451083000"}},
    ],
)
def test_moment_of_every_spelling(value: Any) -> None:
    assert parse_time(value) == MOMENT


@pytest.mark.parametrize(
    "value",
    [
        None,
        1283451083,
        "yesterday",
        "Thu Sep 31 18:11:23 +0000 2010",
        "Thu Foo 02 18:11:23 +0000 2010",
        "Thu Sep 02 25:11:23 +0000 2010",
        "Thu Sep 02 18:11:23 +0000 0000",
        "Mon Jan 01 00:00:00 +2300 0001",
        "0001-01-01T00:00:00+23:00",
        {"$date": {"$numberLong": "9" * 18}},
        {"$date": None},
        {"$date": []},
        {"$date": "soon"},
    ],
)
def test_invalid_date_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(value)


# --- a tweet in every spelling

IDS = st.integers(min_value=1, max_value=2**63 - 1)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)


def canonical(number: int) -> Json:
    return {"$numberLong": str(number)}


@given(tweet_id=IDS, user_id=IDS, second=st.integers(min_value=0, max_value=600_000_000), text=TEXTS)
def test_every_spelling_of_a_tweet_is_the_same_tweet(tweet_id: int, user_id: int, second: int, text: str) -> None:
    created_at = datetime(2006, 3, 21, tzinfo=UTC) + timedelta(seconds=second)
    milliseconds = int(created_at.timestamp() * 1000)
    user = {"screen_name": "ada", "name": "Ada"}
    base = {"text": f"x{text}", "source": "web", "unknown": {"$binary": {"base64": "", "subType": "00"}}}
    twitter_date = created_at.strftime("%a %b %d %H:%M:%S +0000 %Y")
    spellings = [
        {**base, "id": tweet_id, "created_at": twitter_date, "user": {"id": user_id, **user}},
        {**base, "id_str": str(tweet_id), "created_at": twitter_date, "user": {"id_str": str(user_id), **user}},
        {
            **base,
            "_id": {"$oid": "5c8eccb0caa187d17ca62eb8"},
            "id": canonical(tweet_id),
            "created_at": {"$date": canonical(milliseconds)},
            "user": {"id": canonical(user_id), **user},
        },
        {**base, "id": tweet_id, "created_at": {"$date": created_at.isoformat()}, "user": {"id": user_id, **user}},
        {**base, "id": tweet_id, "created_at": {"$date": milliseconds}, "user": {"id": user_id, **user}},
        {
            **base,
            "id": {"$numberDouble": repr(float(tweet_id))},
            "id_str": str(tweet_id),
            "created_at": created_at.isoformat(),
            "user": {"id": float(user_id), "id_str": str(user_id), **user},
        },
    ]
    first, *others = [read(spelling) for spelling in spellings]
    assert all(other == first for other in others)
    assert (first.id, first.user.id, first.created_at) == (tweet_id, user_id, created_at)
    assert len({digest_of(content_of(tweet)) for tweet in (first, *others)}) == 1


_numbers = st.integers() | st.just(10**400) | st.floats()


@given(st.recursive(st.none() | st.booleans() | _numbers | st.text(), st.lists, max_leaves=5))
def test_no_value_of_any_field_breaks_the_import(value: Any) -> None:
    for name in (*plain(), "in_reply_to_status_id", "retweeted_status", "quoted_status_id", "lang", "extended_tweet"):
        wrapped = [{f"$number{kind}": value} for kind in ("Long", "Int", "Double", "Decimal")]
        for strange in (value, *wrapped, {"$date": value}, *({"$date": each} for each in wrapped), {"id": value}):
            try:
                tweet = read(plain(**{name: strange}))
            except Unusable:
                continue
            digest_of(content_of(tweet))


@pytest.mark.parametrize("name", ["id", "created_at", "lang", "unused"])
def test_no_depth_breaks_the_import(name: str) -> None:
    """The reason of a refusal contains a part of the value, which must not be nested too deeply for that either."""
    for depth in (*range(850, 1000), 100_000):
        raw = json.dumps(plain(**{name: None})).replace(f'"{name}": null', f'"{name}": {"[" * depth}{"]" * depth}')
        with contextlib.suppress(Unusable):
            read_tweet(Record(1, raw.encode()), NOW)


@pytest.mark.parametrize("long", ["e\u0301\u0316" * 10**5, "<a>" * 10**5], ids=["marks", "links"])
def test_long_names_are_cut_before_they_are_read(long: str) -> None:
    """The time for these grows with the square of the length: this would take hours."""
    user = {"id": 1, "screen_name": "ada", "name": long}
    tweet = read(plain(user=user, source=long))
    assert (len(tweet.user.name), len(tweet.source or "")) == (100, 255)
    assert reason_of(json.dumps(plain(user=user | {"screen_name": long})).encode()).endswith("is not a name")


@given(st.binary(max_size=60))
def test_no_bytes_break_the_import(raw: bytes) -> None:
    with pytest.raises(Unusable):
        read_tweet(Record(1, b'{"id":1,' + raw), NOW)


# --- what is made of it


def test_fields_of_a_tweet() -> None:
    tweet = read(
        plain(
            text="caf\u0065\u0301 &lt;3 &amp;amp; #Tandem @bob https://example.org/x?a&amp;b",
            source='<a href="http://tom.example" rel="nofollow">Tom &amp; Co</a>',
            lang="pt-BR",
            in_reply_to_status_id=canonical(7),
        )
    )
    content = content_of(tweet)
    assert content["text"] == "café <3 &amp; #Tandem @bob https://example.org/x?a&b"
    assert content["entities"]["hashtags"] == [{"tag": "Tandem", "start": 14, "end": 21}]
    assert content["entities"]["mentions"] == [{"username": "bob", "start": 22, "end": 26}]
    assert content["entities"]["urls"][0]["url"] == "https://example.org/x?a&b"
    assert content["tags"] == ["tandem"]
    assert (content["source"], content["lang"]) == ("Tom & Co", "pt-BR")
    assert content["author_id"] == "imported:42"
    assert content["reply_to"] == object_id(7)
    assert str(object_id(7)) == "007477740000000000000007"


def test_whole_text_of_an_extended_tweet_wins() -> None:
    assert read(plain(extended_tweet={"full_text": "whole"}, full_text="no", text="who…")).text == "whole"
    assert read(plain(full_text="whole", text=None)).text == "whole"


def test_repost_holds_its_original() -> None:
    original = plain(id=5, text="first", user={"id": 1, "screen_name": "bob"})
    tweet = read(plain(retweeted_status=original, text="RT @bob: first"))
    assert tweet.repost_of == 5
    assert [(each.id, each.text, each.user.username) for each in tweet.originals] == [(5, "first", "bob")]
    # The state of the author is that of the repost, which is newer than the tweet.
    assert tweet.originals[0].user.as_of == tweet.id


def test_quoted_tweet_is_referred_to_and_imported() -> None:
    assert read(plain(quoted_status_id=5)).quote_of == 5
    tweet = read(plain(quoted_status=plain(id=5)))
    assert (tweet.quote_of, [each.id for each in tweet.originals]) == (5, [5])


def test_reference_without_its_digits_is_none() -> None:
    assert read(plain(id=2**62, in_reply_to_status_id=2.0**60)).reply_to is None
    assert read(plain(id=2**62, in_reply_to_status_id=2.0**60, in_reply_to_status_id_str="77")).reply_to == 77


def test_author_of_whom_only_the_id_is_known() -> None:
    user = read(plain(user={"id": 42})).user
    assert (user.username, user.as_of) == ("user_42", 0)


def test_undetermined_language_is_none() -> None:
    assert read(plain(lang="und")).lang is None


def test_nan_and_half_surrogate_pairs_in_unused_fields_are_ignored() -> None:
    raw = json.dumps(plain(geo=float("nan"), place="\ud83d")).encode()
    assert b"NaN" in raw
    assert read_tweet(Record(1, raw), NOW).text == "hello #tandem"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "id: missing"),
        ({"id": "x"}, "id: 'x' is not a whole number"),
        ({"id": 0}, "id: 0 is not an id"),
        ({"id": 2**63}, f"id: {2**63} is not an id"),
        ({"id": 2.0**60}, "id: 1.152921504606847e+18 is a double that has lost digits"),
        ({"id_str": "12x"}, "id_str: '12x' is not a whole number"),
        ({"text": None}, "text: missing"),
        ({"text": 12}, "text: int instead of a string"),
        ({"text": ""}, "text: blank"),
        ({"text": " \u200b\n"}, "text: blank"),
        ({"text": "x" * (MAX_CODE_POINTS + 1)}, "text: longer than 1000 code points"),
        ({"text": "e\u0301" * 10**6}, "text: longer than 1000 code points"),
        ({"text": "half \ud83d"}, "text: half of a surrogate pair"),
        ({"text": "nul \0"}, "text: a NUL character"),
        ({"created_at": None}, "created_at: 'None' is not a date"),
        ({"created_at": "Thu Sep 02 18:11:23 +0000 1910"}, "created_at: 1910-09-02 is before the first tweet"),
        ({"created_at": "Thu Sep 02 18:11:23 +0000 2210"}, "created_at: 2210-09-02 is before the first tweet"),
        ({"user": None}, "user: missing"),
        ({"user": "ada"}, "not a tweet: Expected `object | null`, got `str` - at `$.user`"),
        ({"user": {"screen_name": "ada"}}, "user.id: missing"),
        ({"user": {"id": 1, "screen_name": "a da"}}, "user.screen_name: 'a da' is not a name"),
        ({"user": {"id": 1, "screen_name": "ada", "name": 5}}, "user.name: int instead of a string"),
        ({"in_reply_to_status_id": {}}, "in_reply_to_status_id: '{}' is not a whole number"),
        ({"in_reply_to_status_id": 22_819_396_900}, "id: a reply of a later tweet"),
        ({"retweeted_status": {"id": 3}}, "retweeted_status.created_at: 'None' is not a date"),
        ({"retweeted_status": 3}, "not a tweet: Expected `object | null`, got `int` - at `$.retweeted_status`"),
        ({"lang": "no language"}, "lang: 'no language' is not a language"),
        ({"source": 3}, "source: int instead of a string"),
    ],
)
def test_reason_why_a_record_is_refused(change: Json, reason: str) -> None:
    assert reason_of(json.dumps(plain(**change)).encode()).startswith(reason)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not JSON: "),
        (b'{"id":1', "not JSON: "),
        (b'{"text":"\xff"}', "not UTF-8: byte 9: invalid start byte"),
        (b"[1]", "not a tweet: Expected `object`, got `array`"),
        (b"null", "not a tweet: "),
        (b"id,text", "not JSON: "),
        (b'{"retweeted_status":' * 100_000, "nested too deeply"),
        (b'{"x":' * 100_000, "nested too deeply"),
    ],
)
def test_reason_why_bytes_are_refused(raw: bytes, reason: str) -> None:
    assert reason_of(raw).startswith(reason)


# --- records


def split(splitter: Any, text: bytes, size: int) -> list[Record]:
    return list(splitter(text[at : at + size] for at in range(0, len(text), size)))


@given(text=st.text(alphabet="a\n\r ", max_size=40), size=st.integers(min_value=1, max_value=50))
def test_lines_are_records(text: str, size: int) -> None:
    expected = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    assert [(line, raw.decode()) for line, raw, _ in split(split_lines, text.encode(), size)] == expected


JSON_OBJECTS = st.dictionaries(
    st.text(max_size=4), st.recursive(st.text(max_size=6), lambda inner: st.lists(inner, max_size=3)), max_size=4
)


@given(
    objects=st.lists(JSON_OBJECTS, max_size=5),
    indent=st.sampled_from([None, 1, "\t"]),
    is_line_each=st.booleans(),
    size=st.integers(min_value=1, max_value=200),
)
def test_elements_of_an_array_are_records(objects: list[Json], indent: Any, is_line_each: bool, size: int) -> None:
    text = json.dumps(objects, indent=indent)
    if is_line_each:
        text = "[" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in objects) + "]\n"
    records = split(split_array, text.encode(errors="surrogatepass"), size)
    assert [record.problem for record in records] == [None] * len(objects)
    assert [json.loads(record.raw) for record in records] == objects


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "broken",
    [b'{"a":"no end}', b'{"a":{"b":1}', b'{"a":[1}', b'{"a":1}}', b'{"a":\\"x}', b"{]", b"nonsense", b'"text"'],
)
def test_broken_element_leaves_the_others_alone(broken: bytes, size: int) -> None:
    text = b'[{"n":1},\n' + broken + b',\n{"n":3},\n{"n":4}]\n'
    records = split(split_array, text, size)
    good = [json.loads(record.raw) for record in records if record.problem is None and record.raw.startswith(b'{"n"')]
    assert {"n": 1} in good
    if broken != b'{"a":1}}':  # which ends the array
        assert good == [{"n": 1}, {"n": 3}, {"n": 4}]
    assert any(record.line in {2, 3} for record in records if record.raw[:4] != b'{"n"')


def test_array_that_is_cut_off() -> None:
    records = split(split_array, b'[{"n":1},\n{"n":2', 4)
    assert records == [Record(1, b'{"n":1}'), Record(2, b'{"n":2', reading.CUT_OFF)]
    assert split(split_array, b'[{"n":1},\n', 4)[-1].problem == reading.CUT_OFF


def test_array_of_other_things() -> None:
    records = split(split_array, b'[1, {"n":1}, [2], null] x', 5)
    assert [(record.raw, record.problem is None) for record in records] == [
        (b"1", False),
        (b'{"n":1}', True),
        (b"[2]", True),
        (b"null", False),
        (b"x", False),
    ]


def test_lines_and_elements_that_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_RECORD_BYTES", 20)
    long = b'{"a":"' + b"x" * 500 + b'"}'
    lines = split(split_lines, b'{"n":1}\n' + long + b'\n{"n":2}\n' + long, 8)
    assert [(record.line, record.problem) for record in lines] == [
        (1, None),
        (2, reading.TOO_LONG),
        (3, None),
        (4, reading.TOO_LONG),
    ]
    elements = split(split_array, b'[{"n":1},\n' + long + b',\n{"n":2}]', 8)
    assert [(record.line, record.problem) for record in elements] == [(1, None), (2, reading.TOO_LONG), (3, None)]


def test_batch_of_long_records_is_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small compressed file may unpack to a thousand records of 16 MiB, which must not be in memory together."""
    monkeypatch.setattr(service, "MAX_BATCH_BYTES", 2000)
    path = tmp_path / "tweets.json.gz"
    records = [b" " * 900 + json.dumps(plain(id=number)).encode() for number in range(1, 6)]
    path.write_bytes(gzip.compress(b"\n".join([*records, b"x" * 900, b"x" * 2500, b"x"])))
    with Source(path) as source:
        batches = list(service.batches_of(source, 1, 1000, NOW))
    assert [(batch.after, batch.done, len(batch.items), len(batch.rejected)) for batch in batches] == [
        (1, 3, 2, 0),
        (3, 5, 2, 0),
        (5, 7, 0, 2),
        (7, 8, 0, 1),
    ]


def records_of(path: Path) -> list[Record]:
    with Source(path) as source:
        found = list(source.records())
        assert source.consumed == source.size
        assert list(source.records()) == found
    return found


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "tweets.json"
    path.write_bytes(b'\xef\xbb\xbf{"n":1}\r\n\r\n{"n":2}\r\n')
    assert [(record.line, json.loads(record.raw)["n"]) for record in records_of(path)] == [(1, 1), (3, 2)]
    path.write_bytes(b'\xef\xbb\xbf \n[{"n":1}]')
    assert [record.line for record in records_of(path)] == [2]


def test_gzip_of_several_members(tmp_path: Path) -> None:
    path = tmp_path / "tweets.json.gz"
    path.write_bytes(gzip.compress(b'{"n":1}\n{"n":') + gzip.compress(b"2}\n") + bytes(512))
    assert [json.loads(record.raw)["n"] for record in records_of(path)] == [1, 2]


def test_gzip_that_is_cut_off_or_damaged_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "tweets.json.gz"
    write_dataset(300, 1, path, is_canonical=True)
    whole = records_of(path)
    packed = path.read_bytes()
    for cut in (packed[: len(packed) // 2], packed[:-2]):
        path.write_bytes(cut)
        *records, last = records_of(path)
        assert last.problem == "the compressed file is cut off here"
        assert records[:-1] == whole[: len(records) - 1]
        assert len(records) > 100
    path.write_bytes(packed[:9000] + bytes(99) + packed[9099:])
    assert (records_of(path)[-1].problem or "").startswith("the compressed file is damaged from here")


def test_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "tweets.json"
    path.write_bytes(b"")
    assert records_of(path) == []
