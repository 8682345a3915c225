"""The DDL of a route's table. Pure.

It only adds: columns that are no longer declared stay, and so do columns and indexes that operators have added. The
only unique index is the primary key: with another one, the upsert would update the row that collides there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sync_service.routes.config import DELETED_AT, CopiedField, Route
from sync_service.routes.converters import MAXIMUM_PRECISION, MAXIMUM_SCALE, type_of_constant
from sync_service.sinks.base import UnfitTable
from sync_service.sinks.mysql.column_fit import changes_values

DEFAULT_LENGTH = 255

_TYPES: Mapping[str, str] = {
    "text": "LONGTEXT",
    "integer": "BIGINT",
    "unsigned": "BIGINT UNSIGNED",
    "number": "DOUBLE",
    "boolean": "TINYINT(1)",
    "datetime": "DATETIME(6)",
    "date": "DATE",
    "time": "TIME(6)",
    "uuid": "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin",
    "bits": "BIGINT UNSIGNED",
    "json": "JSON",
    "json_text": "JSON",
}

# The same as in the migrations of the built-in copies, in the order in which the sink writes them.
VERSION_COLUMNS: Mapping[str, str] = {
    "sync_event": "VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
    "sync_epoch": "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
    "sync_position": "VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin",
    "sync_operation": "CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
    "sync_deleted_at": "DATETIME(6)",
}

# The `Change.source_id` of the row. Empty in the rows of earlier releases, whose tables get the column at the start.
SOURCE_ID = "sync_source_id"
SOURCE_ID_TYPE = "VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT ''"

# With `deletes: keep-row`: does the tombstone have the last values of its row? One without is of a row that the copy
# never had, which readers do not see.
KEPT = "sync_kept"
_KEPT_TYPE = "TINYINT(1) NOT NULL DEFAULT 0"

# The live rows of a copy: no tombstones.
LIVE_ROWS = "sync_deleted_at IS NULL"


def rows_of(route: Route) -> str:
    """The condition for the rows of this route, tombstones included: a copy may have those of other routes, too."""
    conditions = [
        # Digits or hexadecimal digits: nothing to escape, neither for MySQL nor for its driver.
        f"`{name}` = {constant}" if isinstance(constant, int) else f"`{name}` = _utf8mb4 X'{constant.encode().hex()}'"
        for name, constant in route.key_constants.items()
    ]
    return " AND ".join(conditions) or "TRUE"


def live_rows_of(route: Route) -> str:
    return f"{LIVE_ROWS} AND {rows_of(route)}" if route.key_constants else LIVE_ROWS


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """`columns` are the types of the columns by name, in their order; `key` are those of the primary key."""

    columns: Mapping[str, str]
    key: Collection[str]
    is_view: bool


def missing(route: Route, existing: Mapping[str, ExistingTable]) -> list[str]:
    """The statements that create what the route needs and its schema lacks. Raises `UnfitTable`.

    `existing` are the tables and views of that schema.
    """
    name, copy = route.target.name, route.target.copy_name
    copy_place, view_place = place(route, copy), place(route, name)
    wanted = {column: column_type(field) for column, field in route.fields.items()}
    statements = []
    if (table := existing.get(copy)) is None:
        statements.append(_create(copy_place, route, wanted))
    else:
        _check(copy, table, route)
        _check_types(copy, table, column_types(route))
        known = {column.lower() for column in table.columns}
        added = [
            f"ADD COLUMN {quoted(column)} {kind}"
            for column, kind in {**wanted, **_own_columns(route)}.items()
            if column.lower() not in known
        ]
        if added:
            statements.append(f"ALTER TABLE {copy_place} {', '.join(added)}")
    view = existing.get(name)
    if view is not None and not view.is_view:
        raise UnfitTable(f"table {name} is in the way: route {route.name} needs a view of that name")
    shown = list(view.columns) if view is not None else []
    # The view's own column, which no table has.
    shows_deleted = DELETED_AT in shown and (table is None or DELETED_AT not in table.columns)
    if shows_deleted or route.keeps_rows:
        shown = [column for column in shown if column != DELETED_AT]
    known = {column.lower() for column in shown}
    added = [column for column in (*route.key, *route.fields) if column.lower() not in known]
    if added or shows_deleted != route.keeps_rows:
        columns, rows = ", ".join(map(quoted, [*shown, *added])), LIVE_ROWS
        if route.keeps_rows:
            columns, rows = f"{columns}, sync_deleted_at AS {quoted(DELETED_AT)}", f"{LIVE_ROWS} OR {KEPT}"
        statements.append(
            f"CREATE OR REPLACE VIEW {view_place} AS SELECT {columns} FROM {copy_place} "  # noqa: S608 - names of the route
            f"WHERE {rows}"
        )
    return statements


def _own_columns(route: Route) -> Mapping[str, str]:
    """The sync's columns that not every table of an earlier release has."""
    return {SOURCE_ID: SOURCE_ID_TYPE, **({KEPT: _KEPT_TYPE} if route.keeps_rows else {})}


def place(route: Route, name: str) -> str:
    """The quoted name of a table or view in the schema that the route names, if it names one."""
    return quoted(name) if route.target.database is None else f"{quoted(route.target.database)}.{quoted(name)}"


def moved(route: Route, earlier_schema: str, earlier: Mapping[str, ExistingTable]) -> list[str]:
    """The statements that move the copy of the route from an earlier schema to the one that it names now.

    `earlier` are the tables and views of that schema. No statement if they are no copy of this route.
    """
    table, view = earlier.get(route.target.copy_name), earlier.get(route.target.name)
    if route.target.database is None or table is None:
        return []
    try:
        _check(route.target.copy_name, table, route)
    except UnfitTable:
        return []
    schema, name, copy = quoted(earlier_schema), quoted(route.target.name), quoted(route.target.copy_name)
    dropped = [f"DROP VIEW {schema}.{name}"] if view is not None and view.is_view else []
    return [*dropped, f"RENAME TABLE {schema}.{copy} TO {place(route, route.target.copy_name)}"]


def dropping(route: Route, existing: Mapping[str, ExistingTable]) -> list[str]:
    """The statements that drop the existing view and table of the route. Raises `UnfitTable` if they are no copy."""
    table, view = existing.get(route.target.copy_name), existing.get(route.target.name)
    if table is not None:
        _check(route.target.copy_name, table, route)
    if view is not None and not view.is_view:
        raise UnfitTable(f"table {route.target.name} is not a view of the copy that the sync has created")
    views = [f"DROP VIEW {place(route, route.target.name)}"] if view is not None else []
    return views + ([f"DROP TABLE {place(route, route.target.copy_name)}"] if table is not None else [])


def _create(copy: str, route: Route, wanted: Mapping[str, str]) -> str:
    lines = [f"{quoted(column)} {_key_type(field)} NOT NULL" for column, field in route.key.items()]
    lines += [f"{quoted(column)} {kind}" for column, kind in wanted.items()]
    lines += [f"{column} {kind}" for column, kind in {**VERSION_COLUMNS, **_own_columns(route)}.items()]
    lines += [f"PRIMARY KEY ({', '.join(map(quoted, route.key))})", "KEY (sync_deleted_at)"]
    body = ",\n  ".join(lines)
    return f"CREATE TABLE {copy} (\n  {body}\n) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci"


def _check(copy: str, table: ExistingTable, route: Route) -> None:
    if table.is_view:
        raise UnfitTable(f"view {copy} is in the way: route {route.name} needs a table of that name")
    if lacking := [column for column in VERSION_COLUMNS if column not in table.columns]:
        raise UnfitTable(f"table {copy} is not a copy that the sync has created: it lacks {', '.join(lacking)}")
    if set(table.key) != set(route.key):
        raise UnfitTable(
            f"table {copy} has the primary key ({', '.join(table.key)}), route {route.name} ({', '.join(route.key)})"
        )


def _check_types(copy: str, table: ExistingTable, wanted: Mapping[str, str]) -> None:
    existing = {column.lower(): kind for column, kind in table.columns.items()}
    for column, kind in wanted.items():
        there = existing.get(column.lower(), kind)
        if changes_values(there, kind):
            raise UnfitTable(
                f"column {column} of table {copy} is {there.upper()}, which would change values without an error: run "
                f"ALTER TABLE {quoted(copy)} MODIFY {quoted(column)} {kind}, and then reconcile --repair"
            )


def column_types(route: Route) -> Mapping[str, str]:
    """The types of the columns of a new table by their names, those of the key first."""
    key = {name: _key_type(field) for name, field in route.key.items()}
    return {**key, **{name: column_type(field) for name, field in route.fields.items()}}


def column_type(field: CopiedField) -> str:
    """The type of a column that is not part of the key."""
    if field.is_constant:
        kind = type_of_constant(field.constant)
        return _TYPES["text" if kind == "string" else kind]
    match field.type:
        case "string":
            return f"VARCHAR({field.length or DEFAULT_LENGTH})"
        case "binary":
            return f"VARBINARY({field.length})" if field.length else "LONGBLOB"
        case "decimal":
            precision, scale = field.precision or MAXIMUM_PRECISION, field.scale
            return f"DECIMAL({precision},{MAXIMUM_SCALE if scale is None else scale})"
    return _TYPES[field.type]


def _key_type(field: CopiedField) -> str:
    match type_of_constant(field.constant) if field.is_constant else field.type:
        case "string":
            # Otherwise `a` and `A` would be one row, and `a` and `a `, too.
            return f"VARCHAR({field.length or DEFAULT_LENGTH}) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"
        case "binary":
            return f"VARBINARY({field.length or DEFAULT_LENGTH})"
    return column_type(field)


def quoted(name: str) -> str:
    """For statements that are also printed: for the driver `table.quoted` doubles `%`, too."""
    return f"`{name.replace('`', '``')}`"
