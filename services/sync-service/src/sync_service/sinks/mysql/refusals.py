"""Which values the columns of a copy refuse: their events become dead letters. Pure.

Only what MySQL decides by the type of the column, as its strict mode does (MySQL manual, "Server SQL Modes"). Of an
existing table that is the type of its column, which a changed route does not change.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sync_service.apply.changes import Key
from sync_service.routes.config import CopiedField, Route
from sync_service.sinks.mysql.ddl import ExistingTable, column_types
from sync_service.sinks.rows import RowRefusal

_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?( unsigned)?")
_BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
_SIZED = frozenset({"char", "varchar", "binary", "varbinary"})
_JSON = frozenset({"json", "json_text"})


def row_refusal(route: Route, existing: ExistingTable | None) -> RowRefusal:
    """For the table of the route's copy, which may not exist yet."""
    there = {} if existing is None else {name.lower(): kind for name, kind in existing.columns.items()}
    types = {name: there.get(name.lower(), kind) for name, kind in column_types(route).items()}
    declared: Mapping[str, CopiedField] = {**route.key, **route.fields}

    def refused(key: Key, values: Mapping[str, Any]) -> str | None:
        row = {**dict(zip(route.key, key, strict=True)), **values}
        for name, kind in types.items():
            if (reason := refusal(kind, row.get(name), is_json=declared[name].type in _JSON)) is not None:
                return f"{name}: {reason}"
        return None

    return refused


def refusal(column_type: str, value: Any, *, is_json: bool = False) -> str | None:
    """Why a column of this type, as in a CREATE TABLE, refuses the value. `is_json`: it is written as JSON."""
    found = _TYPE.match(column_type.lower())
    if found is None or value is None:
        return None
    kind, digits, scale, unsigned = found.groups()
    if kind in _SIZED and digits is not None:
        return _too_long(column_type, int(digits), value)
    if kind == "json" and not is_json and isinstance(value, str) and not _is_json(value):
        return "the column is JSON, and it is not"
    if kind == "decimal":
        most = Decimal(10) ** (int(digits or 10) - int(scale or 0))
        return _beyond(column_type, -most, most, value)
    if kind in _BYTES:
        bits = 8 * _BYTES[kind]
        least, most = (-1, 2**bits) if unsigned else (-(2 ** (bits - 1)) - 1, 2 ** (bits - 1))
        return _beyond(column_type, least, most, value)
    return None


def _beyond(column_type: str, below: Decimal | int, above: Decimal | int, value: Any) -> str | None:
    """The column takes numbers between these two."""
    number = _number(value)
    if number is None:
        return f"the column is {column_type.upper()}, and it is no number"
    return None if below < number < above else f"it is beyond the column, which is {column_type.upper()}"


def _too_long(column_type: str, limit: int, value: Any) -> str | None:
    """MySQL cuts off trailing blanks of a text without an error."""
    if isinstance(value, bool) or not isinstance(value, str | bytes | int | Decimal):
        return None
    written: Sequence[Any] = value if isinstance(value, bytes) else str(value).rstrip(" ")
    if len(written) <= limit:
        return None
    return (
        f"it has {len(written)} {'bytes' if isinstance(value, bytes) else 'characters'}, and the column is "
        + (column_type.upper().partition(" CHARACTER SET")[0])
    )


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, bool | int | float | Decimal | str):
        return None
    try:
        number = Decimal(value.strip(" ") if isinstance(value, str) else value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
