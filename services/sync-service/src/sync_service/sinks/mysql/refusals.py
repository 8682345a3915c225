"""Which values the columns of a copy refuse: their events become dead letters. Pure.

Only what MySQL decides by the type of the column, as its strict mode does (MySQL manual, "Server SQL Modes"). Of an
existing table that is the type of its column, which a changed route does not change.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sync_service.apply.changes import Key
from sync_service.routes.config import CopiedField, Route
from sync_service.sinks.mysql.ddl import ExistingTable, column_types
from sync_service.sinks.rows import RowRefusal

_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?( unsigned)?")
_NUMBER = re.compile(r" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *")
_BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
_CHARACTERS = frozenset({"char", "varchar"})
_BINARY = frozenset({"binary", "varbinary", "longblob"})
_JSON = frozenset({"json", "json_text"})
# The types of new columns whose values can be checked against an existing column.
_CHECKED_VALUES = frozenset({"char", "varchar", "longtext", "decimal", *_BYTES})
_MOST_BYTES = {"tinytext": 2**8 - 1, "text": 2**16 - 1, "mediumtext": 2**24 - 1}


def row_refusal(route: Route, existing: ExistingTable | None) -> RowRefusal:
    """For the table of the route's copy, which may not exist yet."""
    types = {name: kind for name, (kind, _wanted) in _columns(route, existing).items()}
    declared: Mapping[str, CopiedField] = {**route.key, **route.fields}

    def refused(key: Key, values: Mapping[str, Any]) -> str | None:
        row = {**dict(zip(route.key, key, strict=True)), **values}
        for name, kind in types.items():
            if (reason := refusal(kind, row.get(name), is_json=declared[name].type in _JSON)) is not None:
                return f"{name}: {reason}"
        return None

    return refused


def undetermined_columns(route: Route, existing: ExistingTable | None) -> list[str]:
    """The existing columns of a kind whose refusals this module does not know, each as a sentence."""
    return [
        f"column {name} is {kind.upper()}: not determined whether it takes the values of {wanted}"
        for name, (kind, wanted) in _columns(route, existing).items()
        if not _is_determined(_kind(kind), _kind(wanted))
    ]


def _columns(route: Route, existing: ExistingTable | None) -> Mapping[str, tuple[str, str]]:
    """The type that each column has, and the one that a new table would have."""
    types = {} if existing is None else {name.lower(): kind for name, kind in existing.columns.items()}
    return {name: (types.get(name.lower(), wanted), wanted) for name, wanted in column_types(route).items()}


def _kind(column_type: str) -> str:
    found = _TYPE.match(column_type.lower())
    return column_type if found is None else found[1]


def _is_determined(existing: str, wanted: str) -> bool:
    if existing in (wanted, "longblob"):
        return True
    if existing == "longtext":
        return wanted not in _BINARY
    if existing in _BINARY:
        return wanted in _CHECKED_VALUES | _BINARY
    return existing in _CHECKED_VALUES | _MOST_BYTES.keys() | {"json"} and wanted in _CHECKED_VALUES


def refusal(column_type: str, value: Any, *, is_json: bool = False) -> str | None:
    """Why a column of this type, as in a CREATE TABLE, refuses the value. `is_json`: it is written as JSON."""
    found = _TYPE.match(column_type.lower())
    if found is None or value is None:
        return None
    kind, digits, scale, unsigned = found.groups()
    if kind in _CHARACTERS | _BINARY | _MOST_BYTES.keys():
        limit = int(digits) if digits else _MOST_BYTES.get(kind)
        return None if limit is None else _too_long(column_type, limit, value, in_bytes=kind not in _CHARACTERS)
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


def _too_long(column_type: str, limit: int, value: Any, *, in_bytes: bool) -> str | None:
    """MySQL cuts off trailing blanks of a text without an error, except in a binary column."""
    if isinstance(value, bool) or not isinstance(value, str | bytes | int | Decimal):
        return None
    written: str | bytes = value if isinstance(value, bytes) else str(value)
    if isinstance(written, str):
        written = written.encode(errors="surrogatepass") if in_bytes else written.rstrip(" ")
    if len(written) <= limit:
        return None
    unit = "bytes" if isinstance(written, bytes) else "characters"
    return f"it has {len(written)} {unit}, and the column is {column_type.upper().partition(' CHARACTER SET')[0]}"


def _number(value: Any) -> Decimal | None:
    if isinstance(value, str):
        return Decimal(value.strip(" ")) if _NUMBER.fullmatch(value) else None
    if not isinstance(value, bool | int | float | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    """NaN and Infinity, which only Python takes."""
    raise ValueError(constant)
