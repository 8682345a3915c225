"""Splits a dataset into records: lines, or elements of a JSON array, optionally gzipped.

No content stops the reading: a part that can't be split becomes a record with a `problem`.
"""

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

# MongoDB's limit of a document.
MAX_RECORD_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_WINDOW = zlib.MAX_WBITS | 16

CUT_OFF = "the file is cut off here"
TOO_LONG = f"longer than {MAX_RECORD_BYTES // 1024 // 1024} MiB"


class Record(NamedTuple):
    """`line` is its first line, counted from 1. With a `problem` it can't be decoded; then `raw` is for the message."""

    line: int
    raw: bytes
    problem: str | None = None


class Source:
    """An open file of records."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self._file = path.open("rb")
        self.size = path.stat().st_size
        # Bytes read so far, of `size`.
        self.consumed = 0
        self._damage: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def digest(self) -> str:
        """SHA-256 of the content, which identifies the import."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def records(self) -> Iterator[Record]:
        """All records in order; the same ones in each call."""
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
        """The unpacked content, in chunks that are not empty."""
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
        """All members of a gzip file up to the first damage. Each step has a limited output (decompression bombs)."""
        inflater, begun = zlib.decompressobj(_GZIP_WINDOW), False
        try:
            for chunk in chunks:
                packed = chunk if begun else chunk.lstrip(b"\0")
                while packed:
                    begun = True
                    yield inflater.decompress(packed, _CHUNK_BYTES)
                    packed = inflater.unconsumed_tail
                    if inflater.eof:
                        # Another member may follow, or padding with zeros.
                        packed = inflater.unused_data.lstrip(b"\0")
                        inflater, begun = zlib.decompressobj(_GZIP_WINDOW), False
            while begun and (rest := inflater.decompress(b"", _CHUNK_BYTES)):
                yield rest
        except zlib.error as error:
            self._damage = f"the compressed file is damaged from here ({error})"
        else:
            if begun and not inflater.eof:
                self._damage = "the compressed file is cut off here"


def split_lines(chunks: Iterable[bytes]) -> Iterator[Record]:
    """A record from each line that is not blank."""
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
# The next bracket or line break outside of strings, or the quote of a string without an end in its line or chunk.
_STRUCTURE = re.compile(rb'(?:[^"{}\[\]\n]++|"(?:[^"\\\n]++|\\.)*+")*+([{}\[\]\n"])')


def split_array(chunks: Iterable[bytes]) -> Iterator[Record]:
    """A record from each element of an array of objects."""
    return _ArraySplitter().split(chunks)


class _ArraySplitter:
    """Finds the elements of an array, by brackets outside of strings.

    A broken element must not affect the rest of the file: if each element starts on its own line, reading continues at
    the next line that starts like the first element. A string never spans lines (RFC 8259 §7).
    """

    def __init__(self) -> None:
        self._text = b""
        self._at = 0  # the text is processed up to here
        self._line = 1
        self._depth = 0
        self._is_over = False
        # Of the element that is being read.
        self._begin: int | None = None
        self._begin_line = 1
        # True after a broken element, until the next one is found.
        self._is_lost = False
        # The text before the first element in its line; `_margin` once it is known to mark elements.
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
        """Drop processed text and append a chunk."""
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
            yield Record(self._line, stray, "after the end of the array")

    def _is_decidable(self, sign: bytes, place: int) -> bool:
        """False if it depends on the next chunk: a string may continue there, or a line may start there."""
        if sign == b'"':
            return self._text.find(b"\n", place) >= 0
        return sign != b"\n" or len(self._text) > place + 1 + len(self._margin or b"")

    def _step(self, sign: bytes, place: int, before: bytes) -> Record | None:
        if sign == b"\n":
            self._line += 1
            if self._margin is not None and self._text.startswith(self._margin + b"{", self._at):
                return self._restart(place)
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
        # The margin marks elements only if each element is one line, or elements are indented.
        if self._margin is None and (self._begin_line == self._line or self._first_margin):
            self._margin = self._first_margin
        self._begin = None
        return record

    def _restart(self, place: int) -> Record | None:
        """Start at a line that begins an element. An element that is still open is broken."""
        record = None
        if self._begin is not None:
            record = Record(self._begin_line, self._text[self._begin : place], "its brackets do not close")
        self._begin, self._depth, self._is_lost = None, 1, False
        return record

    def _give_up(self, end: int, problem: str) -> Record | None:
        """Drop the text up to `end`, and all text until the next element is found."""
        begin, line = (self._at, self._line) if self._begin is None else (self._begin, self._begin_line)
        was_lost, self._is_lost = self._is_lost, True
        self._begin, self._at, self._depth = None, end, 1
        if was_lost:
            return None
        rest = "" if self._margin is not None else "; the elements after it can't be found"
        return Record(line, self._text[begin:end], problem + rest)
