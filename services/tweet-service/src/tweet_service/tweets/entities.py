"""Finds hashtags, mentions and links in a text. Pure.

Offsets count code points of the text as it is stored (NFC), `end` exclusive, so `text[start:end]` is the entity
as written, sign included.
"""

import re
import unicodedata
from collections.abc import Iterator

from tweet_service.tweets.models import Entities, Hashtag, Mention, Url

_URL = re.compile(r"(?<!\w)https?://[^\s<>\"]+", re.IGNORECASE)
_URL_HOST = re.compile(r"https?://(?:[^\s/?#@]*@)?[\w\[]", re.IGNORECASE)
# It contains a letter: "#1" is a number. U+FF03 is the full-width # of Chinese and Japanese keyboards.
_HASHTAG = re.compile(r"(?<![\w#\uFF03&/])[#\uFF03](\w*[^\W\d_]\w*)")
# Not part of an address: "a@b.org", "@ada@example.org".
_MENTION = re.compile(r"(?<![\w@/.])@([A-Za-z0-9_]{1,30})(?![\w@])")

_CLOSING = {")": "(", "]": "[", "}": "{"}
_TRAILING = ".,;:!?'…*_~"
_ZERO_WIDTH_NON_JOINER = "\u200c"
_MARK = "\u0660"  # a digit that is not ASCII


def searchable(tag: str) -> str:
    """A hashtag as it is stored for searches: independent of case and of character width."""
    return unicodedata.normalize("NFKC", tag).casefold()


def searched(written: str) -> str:
    """The same for a search term, which may start with #."""
    return searchable(written).removeprefix("#")


def tags_of(entities: Entities) -> list[str]:
    """The searchable hashtags, each once."""
    return list(dict.fromkeys(searchable(hashtag["tag"]) for hashtag in entities["hashtags"]))


def extract(text: str) -> Entities:
    """All entities of the text, each kind in order of appearance."""
    urls = list(_urls(text))
    words = _with_marks_as_word_characters(_without(text, urls))
    return Entities(
        hashtags=[
            Hashtag(tag=text[match.start(1) : match.end(1)], start=match.start(), end=match.end())
            for match in _HASHTAG.finditer(words)
        ],
        mentions=[
            Mention(username=match[1], start=match.start(), end=match.end()) for match in _MENTION.finditer(words)
        ],
        urls=urls,
    )


def _urls(text: str) -> Iterator[Url]:
    for match in _URL.finditer(text):
        url = _without_trailing_punctuation(match[0])
        if _URL_HOST.match(url):
            yield Url(url=url, start=match.start(), end=match.start() + len(url))


def _without_trailing_punctuation(url: str) -> str:
    """Punctuation at the end belongs to the sentence. A closing bracket belongs to the URL that opened it."""
    while url:
        last = url[-1]
        unopened = last in _CLOSING and url.count(_CLOSING[last]) < url.count(last)
        if last not in _TRAILING and not unopened:
            break
        url = url[:-1]
    return url


def _without(text: str, urls: list[Url]) -> str:
    """The text with blanks instead of its URLs, in which # and @ have another meaning."""
    for url in urls:
        text = text[: url["start"]] + " " * (url["end"] - url["start"]) + text[url["end"] :]
    return text


def _with_marks_as_word_characters(text: str) -> str:
    """Python's `\\w` excludes the combining marks that many scripts use in words.

    They are replaced by a digit that is not ASCII: a letter would make a hashtag of a lone mark, and an ASCII digit
    would be valid in a username.
    """
    return "".join(
        _MARK if char == _ZERO_WIDTH_NON_JOINER or unicodedata.category(char).startswith("M") else char for char in text
    )
