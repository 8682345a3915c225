"""Masks the personal fields of events, for callers who may not read them. Pure.

`routes.yaml` marks fields as `personal`. Keys and rows are masked by their paths in the source, so a field that is
renamed in the copy, or not copied, is masked, too. What can't be read as an event of the route may contain anything,
and is masked as a whole.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sync_service.debezium.envelope import is_envelope
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.config import Route
from sync_service.sinks.sources import SOURCES

MASK = "[personal]"

# The parts of Debezium's envelope that contain no values of rows, apart from the statement in `source.query`.
_OF_ENVELOPE = frozenset({"op", "source", "ts_ms", "ts_us", "ts_ns", "transaction"})
_STATEMENT = "query"
_ROWS = ("before", "after")
# Headers that contain a key of the source.
_KEYS = ("__debezium.newkey", "__debezium.oldkey")

Tree = dict[str, "Tree | None"]


class PersonalFields:
    """The personal fields of a route. None for a topic that no route reads: all of it may be personal."""

    def __init__(self, route: Route | None) -> None:
        self._route = route
        self._tree: Tree = _tree(() if route is None else route.personal_paths)

    @property
    def is_empty(self) -> bool:
        return self._route is not None and not self._tree

    @property
    def has_key(self) -> bool:
        """Is a part of the key personal?"""
        if self._route is None:
            return True
        return any(name in self._tree for name in self._route.key_columns)

    def row(self, row: Any) -> Any:
        """A row or a key as JSON."""
        return MASK if self._route is None else _masked(row, self._tree)

    def view(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of an `EventView`."""
        if self.is_empty:
            return fields
        rows = {name: self.row(fields[name]) for name in ("key", *_ROWS) if name in fields}
        return {**fields, **rows}

    def key_text(self, key: str | None) -> str | None:
        """The key of a record as text. Its names are not all those of the row: Debezium calls that of MongoDB `id`."""
        if key is None or self.is_empty:
            return key
        if self._route is None or self.has_key:
            return MASK
        try:
            read = SOURCES[self._route.source_store].decode_key(key.encode())
        except (InvalidEvent, RecursionError, UnicodeError):
            return MASK
        return key if read.keys() <= set(self._route.key_columns) else MASK

    def value_text(self, value: str) -> str:
        """The value of a record as text."""
        if self.is_empty:
            return value
        if not is_envelope(value):
            return MASK
        try:
            event = _parsed(value)
        except (ValueError, RecursionError):
            return MASK
        masked = {name: part if name in _OF_ENVELOPE else self._row_text(name, part) for name, part in event.items()}
        if _STATEMENT in masked["source"]:
            masked["source"] = {**masked["source"], _STATEMENT: MASK}
        return json.dumps(masked, ensure_ascii=False, separators=(",", ":"))

    def header(self, name: str, value: str) -> str:
        if self.is_empty:
            return value
        return (self.key_text(value) or value) if name in _KEYS else MASK

    def _row_text(self, name: str, part: Any) -> Any:
        """Rows of MongoDB are Extended JSON in a string."""
        if part is None or name not in _ROWS:
            return None if part is None else MASK
        if isinstance(part, dict):
            return self.row(part)
        try:
            document = _parsed(part)
        except (ValueError, TypeError, RecursionError):
            return MASK
        return json.dumps(self.row(document), ensure_ascii=False) if isinstance(document, dict) else MASK


class PersonalRows:
    """Masks rows of copies: what comes from a field that is personal in one of the routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._tree = _tree({path for route in routes for path in route.personal_paths})

    def row(self, route: Route, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """`values` are fields of the copy as `route` maps them, those of the key or the others."""
        return {name: self._value(route, name, value) for name, value in values.items()}

    def _value(self, route: Route, name: str, value: Any) -> Any:
        declared = {**route.key, **route.fields, **route.inputs}
        field = declared.get(name)
        if value is None or field is None or field.is_constant:
            return value
        if field.expr is not None:
            paths = [declared[each].source_path(each) for each in field.expr.names if declared[each].has_path]
            return MASK if field.personal or any(self._below(path) != {} for path in paths) else value
        below = self._below(field.source_path(name))
        return MASK if below is None else _masked(value, below)

    def _below(self, path: Sequence[str]) -> Tree | None:
        """What is personal below the path: None for all of it, empty for nothing."""
        tree: Tree | None = self._tree
        for step in path:
            if tree is None or step not in tree:
                break
            tree = tree[step]
        else:
            return tree
        return tree if tree is None else {}


def _parsed(text: str) -> Any:
    """Strict, as the sync decodes events."""
    return msgspec.json.decode(text)


def _tree(paths: Iterable[Sequence[str]]) -> Tree:
    """A path that continues another one is part of it."""
    root: Tree = {}
    for *steps, last in sorted(paths, key=len):
        place: Tree | None = root
        for step in steps:
            if place is None:
                break
            place = place.setdefault(step, {})
        if place is not None:
            place[last] = None
    return root


def _masked(value: Any, tree: Tree) -> Any:
    """The value without what the tree names. Null stays null. A list has the same below each of its items.

    A value of another kind than the paths say is masked as a whole.
    """
    match value:
        case None:
            return None
        case Mapping():
            return {name: _masked_field(part, name, tree) for name, part in value.items()}
        case list() | tuple():
            return [_masked(item, tree) for item in value]
    return MASK if tree else value


def _masked_field(value: Any, name: str, tree: Tree) -> Any:
    if name not in tree:
        return value
    below = tree[name]
    if below is None:
        return None if value is None else MASK
    return _masked(value, below)
