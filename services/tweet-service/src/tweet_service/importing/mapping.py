"""Maps Twitter's tweet objects (API v1.1) to stored tweets and profiles. Pure.

https://developer.x.com/en/docs/x-api/v1/data-dictionary/object-model/tweet
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, TypedDict, TypeVar

import bson
import msgspec
from bson import ObjectId

from tweet_service.importing.extended_json import ImpreciseNumberError, integer, parse_time
from tweet_service.importing.reading import Record
from tweet_service.profiles.repository import IMPORTED_PREFIX
from tweet_service.tweets.entities import extract, tags_of
from tweet_service.tweets.models import Entities
from tweet_service.tweets.text import is_blank

ValueT = TypeVar("ValueT")

# Longer than the service allows: reposts have "RT @name: " before the whole text, and Twitter did not always count
# links and mentions.
MAX_CODE_POINTS = 1000
MAX_NAME = 100
# The size of the column in the MySQL copy.
MAX_SOURCE = 255
# So many times their stored length is read of names: they may be escaped, decomposed or, as a source, in a link.
_READ = 8
MAX_ID = 2**63 - 1
FIRST_TWEET = datetime(2006, 3, 21, tzinfo=UTC)
# Tolerated difference of clocks.
_TOLERANCE = timedelta(days=1)
# The first bytes of an ObjectId are its time: here in 1970, so that no new id is equal.
_ID_PREFIX = b"\0twt"
_DIGEST_BYTES = 16

_LANG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,2}")
_UNDETERMINED = "und"
_LINK = re.compile(r"<a\b[^>]*>(.*?)</a>", re.IGNORECASE | re.DOTALL)
# Every entity contains one of these, and most tweets contain none.
_SIGN_OF_ENTITY = re.compile(r"[#\uFF03@]|://")


class Unusable(Exception):  # noqa: N818 - a property of the record
    """The record can't be imported. The message is the reason."""


class SourceUser(msgspec.Struct, frozen=True):
    """`as_of` is the id of the tweet that contains this state (ids grow with time); 0 if only the user id is known."""

    id: int
    username: str
    name: str
    created_at: datetime | None
    as_of: int


class SourceTweet(msgspec.Struct, frozen=True):
    """A validated tweet of the file. References are ids of Twitter.

    `originals` are the tweets inside it: the reposted and the quoted one.
    """

    id: int
    text: str
    created_at: datetime
    user: SourceUser
    reply_to: int | None
    repost_of: int | None
    quote_of: int | None
    lang: str | None
    source: str | None
    originals: tuple["SourceTweet", ...]


class TweetContent(TypedDict):
    """The fields that depend only on the record. The other fields depend on other tweets."""

    text: str
    author_id: str
    created_at: datetime
    reply_to: ObjectId | None
    repost_of: ObjectId | None
    quote_of: ObjectId | None
    entities: Entities
    tags: list[str]
    lang: str | None
    source: str | None


class _User(msgspec.Struct):
    id: Any = None
    id_str: Any = None
    screen_name: Any = None
    name: Any = None
    created_at: Any = None


class _Extended(msgspec.Struct):
    full_text: Any = None


class _Tweet(msgspec.Struct):
    """The fields that are used; msgspec skips the others."""

    id: Any = None
    id_str: Any = None
    text: Any = None
    full_text: Any = None
    extended_tweet: _Extended | None = None
    created_at: Any = None
    user: _User | None = None
    in_reply_to_status_id: Any = None
    in_reply_to_status_id_str: Any = None
    retweeted_status: "_Tweet | None" = None
    quoted_status: "_Tweet | None" = None
    quoted_status_id: Any = None
    quoted_status_id_str: Any = None
    lang: Any = None
    source: Any = None


_DECODER = msgspec.json.Decoder(_Tweet)


# --- from the file


def read_tweet(record: Record, now: datetime) -> SourceTweet:
    """Raises `Unusable`."""
    if record.problem is not None:
        raise Unusable(record.problem)
    try:
        return _tweet(_decoded(record.raw), now, is_outermost=True)
    except RecursionError:
        # Of the decoder, or of a reason that contains a value.
        raise Unusable("nested too deeply") from None


def _decoded(raw: bytes) -> _Tweet:
    try:
        # The decoder does not validate strings in skipped fields.
        raw.decode()
        try:
            return _DECODER.decode(raw)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # Real files contain NaN and halves of surrogate pairs, which Python's parser accepts.
            return msgspec.convert(json.loads(raw), _Tweet)
    except UnicodeDecodeError as error:
        raise Unusable(f"not UTF-8: byte {error.start}: {error.reason}") from None
    except msgspec.ValidationError as error:
        raise Unusable(f"not a tweet: {error}") from None
    except ValueError as error:
        raise Unusable(f"not JSON: {error}") from None


def _tweet(found: _Tweet, now: datetime, *, is_outermost: bool) -> SourceTweet:
    tweet_id = _required("id", _id("id", found.id, found.id_str))
    created_at = _checked("created_at", parse_time, found.created_at)
    if not FIRST_TWEET <= created_at <= now + _TOLERANCE:
        raise Unusable(f"created_at: {created_at:%Y-%m-%d} is before the first tweet or in the future")
    originals = {
        name: _original(name, inner, tweet_id, now) if is_outermost else None
        for name, inner in (("retweeted_status", found.retweeted_status), ("quoted_status", found.quoted_status))
        if inner is not None
    }
    repost_of = None if found.retweeted_status is None else _id_of("retweeted_status", found.retweeted_status)
    quote_of = _reference("quoted_status_id", found.quoted_status_id, found.quoted_status_id_str)
    if quote_of is None and found.quoted_status is not None:
        quote_of = _id_of("quoted_status", found.quoted_status)
    reply_to = _reference("in_reply_to_status_id", found.in_reply_to_status_id, found.in_reply_to_status_id_str)
    for name, reference in (("reply", reply_to), ("repost", repost_of), ("quote", quote_of)):
        if reference is not None and reference >= tweet_id:
            raise Unusable(f"id: a {name} of a later tweet")
    return SourceTweet(
        id=tweet_id,
        text=_text(found),
        created_at=created_at,
        user=_user(found.user, tweet_id),
        reply_to=reply_to,
        repost_of=repost_of,
        quote_of=quote_of,
        lang=_lang(found.lang),
        source=_source(found.source),
        originals=tuple(original for original in originals.values() if original is not None),
    )


def _original(name: str, inner: _Tweet, outer_id: int, now: datetime) -> SourceTweet:
    try:
        original = _tweet(inner, now, is_outermost=False)
    except Unusable as error:
        raise Unusable(f"{name}.{error}") from None
    user = original.user
    # The inner tweet is older, but contains the state of its author at the time of the outer tweet.
    seen = msgspec.structs.replace(user, as_of=outer_id if user.as_of else 0)
    return msgspec.structs.replace(original, user=seen)


def _checked(name: str, read: Callable[[Any], ValueT], value: Any) -> ValueT:
    try:
        return read(value)
    except ValueError as error:
        raise Unusable(f"{name}: {error}") from None


def _required(name: str, value: ValueT | None) -> ValueT:
    if value is None:
        raise Unusable(f"{name}: missing")
    return value


def _id(name: str, number: Any, digits: Any) -> int | None:
    """The digits take precedence: numbers may have lost precision as doubles."""
    found = None
    if isinstance(digits, str) and digits:
        found = _checked(f"{name}_str", integer, digits)
    if found is None:
        found = _checked(name, integer, number)
    if found is not None and not 0 < found <= MAX_ID:
        raise Unusable(f"{name}: {found} is not an id")
    return found


def _id_of(name: str, inner: _Tweet) -> int:
    return _required(f"{name}.id", _id(f"{name}.id", inner.id, inner.id_str))


def _reference(name: str, number: Any, digits: Any) -> int | None:
    """None for a number that has lost precision, because it would refer to another tweet."""
    if not digits:
        try:
            integer(number)
        except ImpreciseNumberError:
            return None
        except ValueError:
            pass  # reported below, with the name
    return _id(name, number, digits)


def _string(name: str, value: Any, longest: int | None = None) -> str:
    """`longest`: only so many characters are read. Normalising megabytes of combining marks would take hours."""
    if not isinstance(value, str):
        raise Unusable(f"{name}: missing" if value is None else f"{name}: {type(value).__name__} instead of a string")
    text = value[:longest]
    if "\0" in text:
        raise Unusable(f"{name}: a NUL character")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unusable(f"{name}: half of a surrogate pair") from None
    return unicodedata.normalize("NFC", text)


def _text(found: _Tweet) -> str:
    whole = found.extended_tweet.full_text if found.extended_tweet is not None else None
    text = next((each for each in (whole, found.full_text) if each is not None), found.text)
    if isinstance(text, str) and len(text) > 4 * MAX_CODE_POINTS:
        raise Unusable(f"text: longer than {MAX_CODE_POINTS} code points")
    text = _unescaped(_string("text", text))
    if len(text) > MAX_CODE_POINTS:
        raise Unusable(f"text: longer than {MAX_CODE_POINTS} code points")
    if is_blank(text):
        raise Unusable("text: blank")
    return text


def _unescaped(text: str) -> str:
    """Twitter escapes only these three. The ampersand is last, or `&amp;lt;` would be unescaped twice."""
    if "&" not in text:
        return text
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _user(found: _User | None, tweet_id: int) -> SourceUser:
    if found is None:
        raise Unusable("user: missing")
    user_id = _required("user.id", _id("user.id", found.id, found.id_str))
    if found.screen_name is None:
        # Twitter's option `trim_user` leaves only the id.
        return SourceUser(id=user_id, username=f"user_{user_id}", name=f"user_{user_id}", created_at=None, as_of=0)
    username = _string("user.screen_name", found.screen_name, _READ * MAX_NAME)
    if not 0 < len(username) <= MAX_NAME or any(char.isspace() for char in username):
        raise Unusable(f"user.screen_name: {username[:40]!r} is not a name")
    name = (
        username
        if found.name is None
        else _unescaped(_string("user.name", found.name, _READ * MAX_NAME)).strip()[:MAX_NAME]
    )
    return SourceUser(
        id=user_id, username=username, name=name or username, created_at=_joined_at(found.created_at), as_of=tweet_id
    )


def _joined_at(value: Any) -> datetime | None:
    """None if it is invalid: the record is valid all the same."""
    try:
        return None if value is None else parse_time(value)
    except ValueError:
        return None


def _lang(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _LANG.fullmatch(value):
        raise Unusable(f"lang: {str(value)[:40]!r} is not a language")
    return None if value == _UNDETERMINED else value


def _source(value: Any) -> str | None:
    """The name of the client program: the text of a link, or a word."""
    if value is None:
        return None
    source = _string("source", value, _READ * MAX_SOURCE)
    if match := _LINK.search(source):
        source = match[1]
    return html.unescape(source).strip()[:MAX_SOURCE] or None


# --- to the database


def object_id(tweet_id: int) -> ObjectId:
    """The `_id` of an imported tweet, derived from Twitter's id, so that references need no look-up."""
    return ObjectId(_ID_PREFIX + tweet_id.to_bytes(8, "big"))


def author_id(user_id: int) -> str:
    return f"{IMPORTED_PREFIX}{user_id}"


def content_of(tweet: SourceTweet) -> TweetContent:
    """Entities are extracted again, not copied.

    Twitter's offsets count the escaped text before NFC, and hashtags by other rules could not be searched.
    """
    has_entities = _SIGN_OF_ENTITY.search(tweet.text)
    entities = extract(tweet.text) if has_entities else Entities(hashtags=[], mentions=[], urls=[])
    return TweetContent(
        text=tweet.text,
        author_id=author_id(tweet.user.id),
        created_at=tweet.created_at,
        reply_to=_optional(tweet.reply_to),
        repost_of=_optional(tweet.repost_of),
        quote_of=_optional(tweet.quote_of),
        entities=entities,
        tags=tags_of(entities),
        lang=tweet.lang,
        source=tweet.source,
    )


def _optional(tweet_id: int | None) -> ObjectId | None:
    return None if tweet_id is None else object_id(tweet_id)


def digest_of(content: TweetContent) -> bytes:
    """A digest for comparing contents."""
    return blake2b(bson.encode(content), digest_size=_DIGEST_BYTES).digest()
