"""Asks MySQL whether it takes the table of a route, and the writes to it.

MySQL has no dry run of DDL, and DDL is in no transaction. So the table is created under another name and dropped. A
temporary table would need a privilege of its own, and its limits differ.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from sync_service.routes.config import Route
from sync_service.sinks.base import RouteRefused, Unavailable, UnfitTable
from sync_service.sinks.mysql.ddl import ExistingTable, missing, place
from sync_service.sinks.mysql.errors import translated
from sync_service.sinks.mysql.grants import missing_grants
from sync_service.sinks.mysql.schema import alone_in_schema, existing_schemas, existing_tables, shown_grants

# The view of the trial; its table is `sync_check_copy`. The next check drops both if this one dies.
NAME = "sync_check"


async def refused_tables(address: str, routes: Iterable[Route]) -> Mapping[str, str]:
    """Why MySQL refuses the table of a route, by the name of the route. It asks for the routes into MySQL only.

    Raises `Unavailable`, `TimeoutError`.
    """
    wanted = [route for route in routes if route.target.store == "mysql"]
    refused: dict[str, str] = {}
    if not wanted:
        return refused
    async with alone_in_schema(address) as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        schemas = await existing_schemas(connection)
        names = await _names_that_are_equal(connection, wanted)
        grants = await _missing_grants(connection, wanted)
        for route in wanted:
            if grant := grants.get(route.target.database or ""):
                refused[route.name] = f"the account lacks privileges; run as an administrator of MySQL: {grant}"
                continue
            try:
                await _try(connection, route, schemas)
            except UnfitTable as error:
                refused[route.name] = str(error)
            except RouteRefused as error:
                refused[route.name] = str(error).removeprefix("MySQL: ")
        return {**names, **refused}


async def _names_that_are_equal(connection: AsyncConnection, routes: Iterable[Route]) -> Mapping[str, str]:
    """On Windows and macOS, and where `lower_case_table_names` says so, the case of a table's name does not count."""
    if not await connection.scalar(text("SELECT @@lower_case_table_names")):
        return {}
    found, seen = {}, dict[str, Route]()
    for route in routes:
        first = seen.setdefault(route.target.place.lower(), route)
        if first.target.place != route.target.place:
            found[route.name] = (
                f"table {route.target.place} is table {first.target.place} of route {first.name}: "
                "this server ignores the case of their names"
            )
    return found


async def _missing_grants(connection: AsyncConnection, routes: Iterable[Route]) -> Mapping[str, str]:
    """The GRANT statements for the schemas that routes name. In one that does not exist yet nothing can be tried."""
    schemas = {route.target.database for route in routes if route.target.database is not None}
    return missing_grants(await shown_grants(connection), schemas)


async def _try(connection: AsyncConnection, route: Route, schemas: Collection[str]) -> None:
    """Raises `UnfitTable`, `RouteRefused`, `Unavailable`."""
    existing = await existing_tables(connection, route, route.target.database)
    statements = missing(route, existing)
    table = existing.get(route.target.copy_name)
    try:
        if table is not None:
            await _try_writes(connection, route, [*route.key] if statements else [*route.key, *route.fields])
        if statements:
            await _try_statements(connection, _trial(route, schemas), route, table)
    except DBAPIError as error:
        raise translated(error, of_row=False) from error


def _trial(route: Route, schemas: Collection[str]) -> Route:
    """The route into the tables of the trial: in its own schema, or in that of the account if it does not exist yet."""
    database = route.target.database if route.target.database in schemas else None
    return route.model_copy(update={"target": route.target.model_copy(update={"table": NAME, "database": database})})


async def _try_statements(connection: AsyncConnection, trial: Route, route: Route, table: ExistingTable | None) -> None:
    copy = place(trial, trial.target.copy_name)
    drop = (f"DROP VIEW IF EXISTS {place(trial, trial.target.name)}", f"DROP TABLE IF EXISTS {copy}")
    try:
        for statement in drop:
            await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        # The sync itself needs no right to drop tables.
        raise Unavailable(f"MySQL: no table is created to try route {route.name}: {error.orig}") from error
    try:
        if table is not None:
            await connection.exec_driver_sql(f"CREATE TABLE {copy} LIKE {place(route, route.target.copy_name)}")
        for statement in missing(trial, {} if table is None else {trial.target.copy_name: table}):
            await connection.exec_driver_sql(statement)
        await _try_writes(connection, trial, [*trial.key, *trial.fields])
    finally:
        for statement in drop:
            await connection.exec_driver_sql(statement)


async def _try_writes(connection: AsyncConnection, route: Route, columns: Sequence[str]) -> None:
    """EXPLAIN needs the privileges of its statement, and changes nothing."""
    copy, names, key = place(route, route.target.copy_name), ", ".join(f"`{each}`" for each in columns), columns[0]
    insert = f"INSERT INTO {copy} ({names}) SELECT {names} FROM {copy} AS kept WHERE FALSE"  # noqa: S608 - names of the route
    await connection.exec_driver_sql(f"EXPLAIN {insert} ON DUPLICATE KEY UPDATE `{key}` = {copy}.`{key}`")
    await connection.exec_driver_sql(f"EXPLAIN DELETE FROM {copy} WHERE FALSE")  # noqa: S608 - names of the route
