"""Splits a dataset into its records: a line each, or an element of a JSON array each; gzip is seen through.

Nothing in a file stops the reading: what can't be split off properly becomes a record with a `problem`.
"""

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

# MongoDB's own limit of a document.
MAX_RECORD_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_WINDOW = zlib.MAX_WBITS | 16

CUT_OFF = "the file is cut off here"
TOO_LONG = f"longer than {MAX_RECORD_BYTES // 1024 // 1024} MiB"


class Record(NamedTuple):
    """`line` is where it begins, counted from 1. With a `problem` it can't be decoded; `raw` then is for showing."""

    line: int
    raw: bytes
    problem: str | None = None


class Source:
    """A file of records, open."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self._file = path.open("rb")
        self.size = path.stat().st_size
        # Bytes of the file that have been read so far, of `size`.
        self.consumed = 0
        self._damage: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def digest(self) -> str:
        """What tells this file's content from every other's."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def records(self) -> Iterator[Record]:
        """Every record, in order; the same ones each time."""
        chunks = self._text()
        first = next(chunks, b"").removeprefix(_BYTE_ORDER_MARK)
        chunks = itertools.chain([first], chunks)
        line = 0
        for record in split_array(chunks) if first.lstrip().startswith(b"[") else split_lines(chunks):
            line = record.line
            yield record
        if self._damage is not None:
            yield Record(line, b"", self._damage)

    def _text(self) -> Iterator[bytes]:
        """The content, unpacked, in pieces of which none is empty."""
        self._file.seek(0)
        self.consumed = 0
        self._damage = None
        chunks = self._chunks()
        first = next(chunks, b"")
        chunks = itertools.chain([first], chunks)
        return filter(None, self._unpacked(chunks) if first.startswith(_GZIP) else chunks)

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK_BYTES):
            self.consumed += len(chunk)
            yield chunk

    def _unpacked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Every member of a gzip file, as far as it is sound. A few bytes may unpack to very many: never at once."""
        inflater, begun = zlib.decompressobj(_GZIP_WINDOW), False
        try:
            for chunk in chunks:
                packed = chunk if begun else chunk.lstrip(b"\0")
                while packed:
                    begun = True
                    yield inflater.decompress(packed, _CHUNK_BYTES)
                    packed = inflater.unconsumed_tail
                    if inflater.eof:
                        # Another member may follow, or the padding of a tape.
                        packed = inflater.unused_data.lstrip(b"\0")
                        inflater, begun = zlib.decompressobj(_GZIP_WINDOW), False
            while begun and (rest := inflater.decompress(b"", _CHUNK_BYTES)):
                yield rest
        except zlib.error as error:
            self._damage = f"the compressed file is damaged from here on ({error})"
        else:
            if begun and not inflater.eof:
                self._damage = "the compressed file is cut off here"


def split_lines(chunks: Iterable[bytes]) -> Iterator[Record]:
    """A record from each line that isn't blank."""
    line, held, is_too_long = 1, b"", False
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for piece in whole:
            if is_too_long or len(piece) > MAX_RECORD_BYTES:
                yield Record(line, piece, TOO_LONG)
                is_too_long = False
            elif not piece.isspace() and piece:
                yield Record(line, piece)
            line += 1
        if len(held) > MAX_RECORD_BYTES:
            held, is_too_long = held[:_CHUNK_BYTES], True
    if is_too_long:
        yield Record(line, held, TOO_LONG)
    elif held.strip():
        yield Record(line, held)


_BETWEEN = b" \t\r,"
# The next bracket or line end outside of strings; or the quote of a string that does not end, in its line or so far.
_STRUCTURE = re.compile(rb'(?:[^"{}\[\]\n]++|"(?:[^"\\\n]++|\\.)*+")*+([{}\[\]\n"])')


def split_array(chunks: Iterable[bytes]) -> Iterator[Record]:
    """A record from each element of an array of objects."""
    return _ArraySplitter().split(chunks)


class _ArraySplitter:
    """Finds where elements begin and end, by brackets outside of strings.

    A broken element must not take the rest of the file with it: where elements begin on lines of their own, the
    reading goes on at the next line that begins as the first element's did. A string never spans lines (RFC 8259 §7).
    """

    def __init__(self) -> None:
        self._text = b""
        self._at = 0  # up to here the text has been looked at
        self._line = 1
        self._depth = 0
        self._is_over = False
        # Of the element that is being read.
        self._begin: int | None = None
        self._begin_line = 1
        # Behind a broken element, until the next one is found.
        self._is_lost = False
        # What is before the first element in its line; and the same once that is known to be a sign of elements.
        self._first_margin: bytes | None = None
        self._margin: bytes | None = None

    def split(self, chunks: Iterable[bytes]) -> Iterator[Record]:
        for chunk in chunks:
            self._take(chunk)
            yield from self._scan(is_last=False)
        yield from self._scan(is_last=True)
        if self._begin is not None:
            yield Record(self._begin_line, self._text[self._begin :], CUT_OFF)
        elif not self._is_over and not self._is_lost:
            yield Record(self._line, self._text[self._at :].strip(_BETWEEN), CUT_OFF)

    def _take(self, chunk: bytes) -> None:
        """Forget what is done with, and have more to look at."""
        done = self._done()
        self._text = self._text[done:] + chunk
        self._at -= done
        self._begin = None if self._begin is None else 0

    def _done(self) -> int:
        return self._at if self._begin is None else self._begin

    def _scan(self, *, is_last: bool) -> Iterator[Record]:
        while not self._is_over and (match := _STRUCTURE.match(self._text, self._at)):
            sign, place = match[1], match.start(1)
            if not is_last and not self._is_decidable(sign, place):
                break
            before = self._text[self._at : place]
            if self._begin is None and not self._is_lost and (stray := before.strip(_BETWEEN)):
                yield Record(self._line, stray, "not an object")
            self._at = place + 1
            if record := self._step(sign, place, before):
                yield record
        is_too_long = not self._is_over and len(self._text) - self._done() > MAX_RECORD_BYTES
        if is_too_long and (record := self._give_up(len(self._text), TOO_LONG)):
            yield record
        if self._is_over and (stray := self._text[self._at :].strip()):
            self._at = len(self._text)
            yield Record(self._line, stray, "behind the end of the array")

    def _is_decidable(self, sign: bytes, place: int) -> bool:
        """A string may go on in the next chunk, and how the next line begins may not be seen yet."""
        if sign == b'"':
            return self._text.find(b"\n", place) >= 0
        return sign != b"\n" or len(self._text) > place + 1 + len(self._margin or b"")

    def _step(self, sign: bytes, place: int, before: bytes) -> Record | None:
        if sign == b"\n":
            self._line += 1
            if self._margin is not None and self._text.startswith(self._margin + b"{", self._at):
                return self._begin_anew(place)
        elif sign == b'"':
            end = self._text.find(b"\n", place)
            return self._give_up(len(self._text) if end < 0 else end, "a string in it does not end")
        elif not self._is_lost:
            if sign in b"}]":
                return self._close()
            self._open(place, before)
        return None

    def _open(self, place: int, before: bytes) -> None:
        if self._depth == 1:
            self._begin, self._begin_line = place, self._line
            if self._first_margin is None:
                self._first_margin = before
        self._depth += 1

    def _close(self) -> Record | None:
        self._depth -= 1
        self._is_over = self._depth <= 0
        if self._depth != 1 or self._begin is None:
            return None
        record = Record(self._begin_line, self._text[self._begin : self._at])
        # A line begins like the first element's only at another one if elements fit a line each, or are indented.
        if self._margin is None and (self._begin_line == self._line or self._first_margin):
            self._margin = self._first_margin
        self._begin = None
        return record

    def _begin_anew(self, place: int) -> Record | None:
        """At a line that begins an element. One that is still open then is broken."""
        record = None
        if self._begin is not None:
            record = Record(self._begin_line, self._text[self._begin : place], "its brackets do not close")
        self._begin, self._depth, self._is_lost = None, 1, False
        return record

    def _give_up(self, end: int, problem: str) -> Record | None:
        """Drop what is up to `end`, and all that follows until the next element is found."""
        begin, line = (self._at, self._line) if self._begin is None else (self._begin, self._begin_line)
        was_lost, self._is_lost = self._is_lost, True
        self._begin, self._at, self._depth = None, end, 1
        if was_lost:
            return None
        rest = "" if self._margin is not None else "; what follows can't be told apart"
        return Record(line, self._text[begin:end], problem + rest)
