"""What a search looks for, as regular expressions and as words for MongoDB's text index."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Each word costs a look-up in the index, and a test of each candidate.
MAX_PARTS = 10
_COMBINING = range(0x300, 0x370)
# Latin, Greek and Cyrillic letters with diacritics.
_LETTERS = range(0xC0, 0x2000)
# Characters that end a word in every text index of MongoDB.
_SURE_DELIMITERS = re.compile(r"[\s!-/:-@\[-^`{-~]+")
# As in MongoDB: neither letter, digit nor `_` may precede or follow.
_IS_WORD = r"[\p{L}\p{M}\p{N}_]"


@dataclass(frozen=True)
class Query:
    """`parts` are words and phrases that a tweet must all contain."""

    parts: Sequence[str]

    @property
    def words(self) -> list[str]:
        """The longest words of all parts, `MAX_PARTS` at most. Only such words are in the index."""
        words = {word for part in self.parts for word in _SURE_DELIMITERS.split(part) if word}
        return sorted(words, key=lambda word: (-len(word), word))[:MAX_PARTS]

    @property
    def patterns(self) -> list[str]:
        """A regular expression for each part, to be used without regard to case."""
        return [_pattern(part) for part in self.parts]


def parse(text: str) -> Query:
    """Words, and phrases in double quotes."""
    quoted = text.split('"')
    phrases = [part.strip() for part in quoted[1::2]]
    words = [word for part in quoted[::2] for word in part.split()]
    return Query([part for part in [*words, *phrases] if part])


def _pattern(part: str) -> str:
    """The part as whole words, with or without diacritics: the text index does not distinguish them either."""
    characters = _without_diacritics(part)
    inner = "".join(map(_character, characters))
    before = rf"(?<!{_IS_WORD})" if _is_word(characters[:1]) else ""
    after = rf"(?!{_IS_WORD})" if _is_word(characters[-1:]) else ""
    return f"{before}{inner}{after}"


def _character(character: str) -> str:
    if character.isspace():
        return r"\s"
    if character == "\0":
        # MongoDB takes no NUL in a regular expression.
        return r"\x00"
    if not character.isalpha():
        return re.escape(character)
    variants = _VARIANTS.get(character.lower())
    return f"[{character.lower()}{variants}][\u0300-\u036f]*" if variants else re.escape(character)


def _without_diacritics(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    kept = "".join(character for character in decomposed if ord(character) not in _COMBINING)
    return unicodedata.normalize("NFC", kept)


def _is_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character or " ")[0] in "LMN"


def _all_variants() -> dict[str, str]:
    """Lower-case letters with diacritics by the letter without."""
    found: dict[str, str] = {}
    for code in _LETTERS:
        character = chr(code)
        decomposed = unicodedata.normalize("NFD", character)
        letter, marks = decomposed[0], decomposed[1:]
        if marks and character.islower() and all(ord(mark) in _COMBINING for mark in marks):
            found[letter] = found.get(letter, "") + character
    return found


_VARIANTS = _all_variants()
