"""Comparison of sources with copies, row by row. Expected rows are computed here, not by the code under test."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from faults.databases import Databases
from sync_service.routes.config import CopiedField, Route

Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = dict[str, Row]

# What the writers write to, whether a route copies it or not. Tables of MySQL are `schema.table`.
ACCOUNTS = "auth.users"
COLLECTIONS = ("tweets", "likes", "follows")


@dataclass(frozen=True)
class Difference:
    """`kind` says how the copy differs: missing, extra or different."""

    route: str
    key: str
    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.route} {self.key}: {self.kind} {self.detail}".rstrip()


def source_of(route: Route) -> str:
    """`cdc.mysql.auth.users` is the table `auth.users`, `cdc.mongo.tweets.likes` the collection `likes`."""
    _, store, schema, name = route.topic.split(".")
    return f"{schema}.{name}" if store == "mysql" else name


def load_sources(databases: Databases, routes: Iterable[Route]) -> dict[str, Rows]:
    """Return every row of every source, by table or collection and by key."""
    names = {ACCOUNTS, *COLLECTIONS, *map(source_of, routes)}
    return {name: _by_key(_load(databases, name)) for name in sorted(names)}


def load_copies(databases: Databases, routes: Iterable[Route]) -> dict[str, Rows]:
    """Return every visible row of every copy, by route and by key."""
    return {route.name: _copy(databases, route) for route in routes}


def differences(routes: Iterable[Route], sources: Mapping[str, Rows], copies: Mapping[str, Rows]) -> list[Difference]:
    """Compare in both directions: missing, extra and different rows of each copy."""
    return [each for route in routes for each in _compare(route, sources[source_of(route)], copies[route.name])]


def _compare(route: Route, source: Rows, copy: Rows) -> list[Difference]:
    expected = {_key(route, row): expected_row(route, row) for row in source.values()}
    found = [Difference(route.name, key, "extra") for key in copy.keys() - expected.keys()]
    for key, row in expected.items():
        if key not in copy:
            found.append(Difference(route.name, key, "missing"))
            continue
        actual = {name: normal(copy[key].get(name), field) for name, field in route.fields.items()}
        if actual != row:
            changed = {name: (row[name], actual[name]) for name in row if row[name] != actual[name]}
            found.append(Difference(route.name, key, "different", f"(source, copy): {changed}"))
    return found


def expected_row(route: Route, row: Row) -> dict[str, Any]:
    """Return the expected copy of a source row. MongoDB stores times in milliseconds."""
    values = {name: normal(_value(name, field, row), field) for name, field in route.fields.items()}
    if route.target.store == "mongodb":
        values = {
            name: _to_milliseconds(value) if isinstance(value, datetime) else value for name, value in values.items()
        }
    return values


def _to_milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _value(name: str, field: CopiedField, row: Row) -> Any:
    if field.is_constant:
        return field.constant
    value: Any = row
    for part in field.path or (name,):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def normal(value: Any, field: CopiedField) -> Any:
    """Convert a value of either store to one that both share."""
    if value is None or field.is_constant:
        return value
    match field.type:
        case "string" | "decimal":
            return str(value)
        case "boolean":
            return bool(value)
        case "datetime":
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case "json" | "json_text":
            return json.loads(value) if isinstance(value, str) else json.loads(json.dumps(value, default=_plain))
    return value


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _key(route: Route, row: Row) -> str:
    return key_text(normal(_value(name, field, row), field) for name, field in route.key.items())


def key_text(values: Iterable[Any]) -> str:
    return " ".join(map(str, values))


def _by_key(rows: Sequence[Row]) -> Rows:
    return {_own_key(row): row for row in rows}


def _own_key(row: Row) -> str:
    key = row["_id"] if "_id" in row else row["id"]
    return key_text(key.values()) if isinstance(key, Mapping) else str(key)


def _load(databases: Databases, name: str) -> Sequence[Row]:
    if "." in name:
        return databases.query(f"SELECT * FROM {name}")  # noqa: S608 - names of the routes
    return list(databases.documents[name].find())


def _copy(databases: Databases, route: Route) -> Rows:
    rows: Sequence[Row]
    if route.target.store == "mysql":
        rows = databases.query(f"SELECT * FROM tweets.{route.target.name}")  # noqa: S608 - names of the routes
    else:
        rows = list(databases.copies(route)[route.target.name].find())
    return {key_text(row[name] for name in route.key): row for row in rows}
