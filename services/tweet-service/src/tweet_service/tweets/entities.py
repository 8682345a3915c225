"""Finds hashtags, mentions and links in a text. Pure.

The rules follow twitter-text. Links differ: they need a scheme, and any host is accepted.
Offsets count code points of the text as it is stored (NFC), `end` exclusive, so `text[start:end]` is the entity
as written, sign included.
"""

import re
import unicodedata
from collections.abc import Iterator

from tweet_service.tweets.models import Entities, Hashtag, Mention, Url

# Signs that are part of words: geresh, Tibetan separators, the ditto mark.
_WORD_SIGNS = "\u05f3\u0f0b\u0f0c\u3003"
_EMOJI_MARKS = "\ufe0e\ufe0f\u20e3"
_MARK = "\u0660"  # a digit that is not ASCII

# Letters of Latin scripts that are not ASCII.
_LATIN = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff"
# Scripts that write words without spaces, or endings directly after foreign words: Thai to Khmer, kana, Han, Hangul.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"

# What ends a link: spaces, controls, invisible characters (but not joiners, which words have), quotes, and the
# punctuation of sentences in any script. ASCII's punctuation ends it only before a space, see `_TRAILING`.
_END_OF_URL = (
    r"\s\x00-\x1f\x7f-\x9f<>\"`"
    "\u00ab\u00bb\u2039\u203a\u2018-\u201f\u2014\u2015"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\u060c\u061b\u061f\u06d4\u0964\u0965\u104a\u104b\u17d4\u17d5"
    "\u3001\u3002\u3008-\u3011\u3014-\u301b"
    "\uff01\uff08\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3b\uff3d\uff5b\uff5d\uff61-\uff64"
)
_URL = re.compile(rf"(?<![A-Za-z0-9_@$])https?://[^{_END_OF_URL}]+", re.IGNORECASE)
_URL_HOST = re.compile(r"https?://(?:[^\s/?#@]*@)?[\w\[\u2000-\U0010ffff]", re.IGNORECASE)
# A host that is followed by words: "https://example.orgを見て".
_HOST_BEFORE_WORDS = re.compile(rf"https?://[^/?#]*?\.[a-z]{{2,}}(?=[{_UNSPACED}])", re.IGNORECASE)
# A second link without a space before it. After these characters it is a part of the first one.
_SECOND_URL = re.compile(r"(?<![/=?&#:%])https?://", re.IGNORECASE)
_CLOSING = {")": "(", "]": "[", "}": "{"}
_TRAILING = ".,;:!?'|\u2013\u2026\u200c\u200d"

# Joiners, hyphens and dots that are part of a word between letters.
_WITHIN_WORD = "\u00b7\u05be\u05f4\u200c\u200d\u301c\u30a0\u30fb\ufe0e\ufe0f\uff5e\uff65"
# U+FF03 is the full-width # of Chinese and Japanese keyboards. With a variation selector or a keycap it is an emoji.
_HASHTAG = re.compile(rf"(?<![\w#\uff03&])[#\uff03](?![\ufe0e\ufe0f\u20e3])(\w+(?:[{_WITHIN_WORD}]+\w+)*)(?!\w|://)")
# "#1" is a number.
_LETTER = re.compile(r"[^\W\d_]")

# Usernames are ASCII, so letters of scripts other than Latin may stand beside them. "a@b.org" and "@ada@example.org"
# are addresses, "f#@k" is neither, and "RT@ada" is a mention.
_MENTION = re.compile(
    rf"(?:(?<![A-Za-z0-9_!#$%&*@\uff20{_LATIN}])|(?<=[Rr][Tt])(?<![A-Za-z0-9_+~.-][Rr][Tt]))"
    rf"[@\uff20]([A-Za-z0-9_]{{1,30}})(?![A-Za-z0-9_@\uff20{_LATIN}{_MARK}]|://)"
)
# An address without a scheme, to which a following # or @ belongs.
_ADDRESS_BEFORE = re.compile(r"[\w-]\.[A-Za-z]{2,}/(?:\S*/)?\Z")
_DOMAIN_AFTER = re.compile(r"\.[A-Za-z]{2}")


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
            if _LETTER.search(match[1]) and not _is_in_address(words, match)
        ],
        mentions=[
            Mention(username=match[1], start=match.start(), end=match.end())
            for match in _MENTION.finditer(words)
            if not _is_in_address(words, match)
        ],
        urls=urls,
    )


def _urls(text: str) -> Iterator[Url]:
    position = 0
    while match := _URL.search(text, position):
        url = match[0]
        if second := _SECOND_URL.search(url, 1):
            url = url[: second.start()]
        if host := _HOST_BEFORE_WORDS.match(url):
            url = host[0]
        position = match.start() + len(url)
        url = _without_trailing_punctuation(url)
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


def _is_in_address(text: str, match: re.Match[str]) -> bool:
    """Is it part of "example.org/@ada", or of a mail address with letters that are not Latin?"""
    before = text[match.start() - 1 : match.start()]
    if before == "/":
        return _ADDRESS_BEFORE.search(text, 0, match.start()) is not None
    return before.isalpha() and _DOMAIN_AFTER.match(text, match.end()) is not None


def _with_marks_as_word_characters(text: str) -> str:
    """Python's `\\w` excludes the combining marks and signs that many scripts use in words.

    They are replaced by a digit that is not ASCII: a letter would make a hashtag of a lone mark, and an ASCII digit
    would be valid in a username. The marks of emoji are no word characters.
    """
    return "".join(
        _MARK
        if char in _WORD_SIGNS or (unicodedata.category(char).startswith("M") and char not in _EMOJI_MARKS)
        else char
        for char in text
    )
