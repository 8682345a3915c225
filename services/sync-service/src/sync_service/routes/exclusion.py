"""Finds and removes fields that a route excludes in records of events. Pure.

The connector leaves them out of new events. Records that were written before may still carry them.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Path = Sequence[str]
_ROWS = ("before", "after")


class ExcludedFields:
    """By their paths in the source."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = sorted(map(tuple, paths))
        names = [re.escape(json.dumps(path[-1], ensure_ascii=False)[1:-1]) for path in self._paths]
        self._names = re.compile("|".join(names).encode()) if names else None
        # The value may be cut off, and quotes may be escaped, as in a document of MongoDB.
        value = r'(?:\\*"(?:[^"\\]|\\[^"]|\\"(?!\s*[,}\]]))*(?:\\*"|\\*$)|[^,}\]\s"\\]+)'
        self._in_text = re.compile(rf'(\\*"(?:{"|".join(names)})\\*"\s*:\s*)({value})'.encode()) if names else None

    def __bool__(self) -> bool:
        return bool(self._paths)

    @property
    def digest(self) -> str:
        """Identifies the fields."""
        return hashlib.sha256(json.dumps(self._paths).encode()).hexdigest()[:32]

    def are_in(self, value: bytes | None) -> bool:
        """Does the value of a record carry one of them, or look so, if it can't be read as an event?"""
        if value is None or self._names is None or not self._names.search(value):
            return False
        try:
            return any(_find(row, path) is not None for _, row in _rows(json.loads(value)) for path in self._paths)
        except (ValueError, RecursionError):
            return self.removed_from(value)[0] != value

    def removed_from(self, value: bytes) -> tuple[bytes, Sequence[str]]:
        """The value without them, and the texts that were removed.

        Of a value that can't be read as an event, what looks like one of the fields is replaced.
        """
        try:
            event = json.loads(value)
            removed = [text for row_name, row in _rows(event) for text in self._remove(event, row_name, row)]
        except (ValueError, RecursionError):
            return self.removed_from_text(value)
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass"), removed

    def removed_from_text(self, text: bytes) -> tuple[bytes, Sequence[str]]:
        """The text, in which the values of what looks like one of the fields are null, and these values."""
        if self._in_text is None:
            return text, ()
        found = [match[2].strip(b'\\"').decode(errors="replace") for match in self._in_text.finditer(text)]
        return self._in_text.sub(rb"\1null", text), [each for each in found if each != "null"]

    def _remove(self, event: dict[str, Any], row_name: str, row: dict[str, Any]) -> Iterator[str]:
        for path in self._paths:
            if (holder := _find(row, path)) is not None and isinstance(text := holder.pop(path[-1]), str):
                yield text
        set_row: Callable[[Any], Any] = json.dumps if isinstance(event[row_name], str) else lambda same: same
        event[row_name] = set_row(row)


NO_FIELDS = ExcludedFields(())


def _rows(event: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of an event by their names. Raises `ValueError` if it has none as Debezium writes them."""
    if not isinstance(event, dict):
        raise ValueError("no event")  # noqa: TRY004 - the text is wrong, like one that is no JSON
    for name in _ROWS:
        row = event.get(name)
        if isinstance(row, str):
            row = json.loads(row)
        if isinstance(row, dict):
            yield name, row
        elif row is not None:
            raise ValueError("no row")


def _find(row: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """The document that has the last step of the path; None if there is none."""
    place: Any = row
    for step in path[:-1]:
        place = place.get(step) if isinstance(place, dict) else None
    return place if isinstance(place, dict) and path[-1] in place else None
