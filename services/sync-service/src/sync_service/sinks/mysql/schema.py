"""Creates the tables of routes in a MySQL schema, or returns the DDL for it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.mysql import create_engine, mysql_url, server_lock
from sync_service.routes.config import Route
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.ddl import ExistingTable, dropping, missing, moved
from sync_service.sinks.mysql.errors import translated
from sync_service.sinks.mysql.grants import missing_grants

LOCK_SECONDS = 120


class SourceSchema(Exception):  # noqa: N818 - the schema is a source
    """`MYSQL_URL` names a schema that a route reads from; one sentence with the remedy."""


def require_separate_schema(address: str, routes: Iterable[Route]) -> None:
    """Raise `SourceSchema` if the schema of the copies is the source of a route: its owner alone creates its tables."""
    schema = mysql_url(address).database
    for route in routes:
        if route.source_store == "mysql" and route.source is not None and route.source[0] == schema:
            raise SourceSchema(
                f"MYSQL_URL names the schema {schema}, which is the source of route {route.name}: set MYSQL_URL to the "
                "schema of the copies; on the embedded stack, it is $SYNC_MYSQL_URL"
            )


def migrations_folder() -> Path:
    """Inside of an installed package; in a checkout beside `src`."""
    package = Path(__file__).parents[2]
    inside = package / "migrations"
    return inside if inside.exists() else package.parents[1] / "migrations"


async def require_grants(address: str) -> None:
    """Raise `Unavailable` with the missing GRANT statement, before the first migration of the own schema.

    DDL is in no transaction: a migration that is refused half-way could not be repeated when the grant is made.
    """
    engine = create_engine(address, pool_size=1)
    try:
        async with engine.connect() as connection:
            tables = (await connection.execute(text("SHOW TABLES LIKE 'alembic_version'"))).all()
            if tables and await connection.scalar(text("SELECT COUNT(*) FROM alembic_version")):
                return
            schema = mysql_url(address).database or ""
            for statement in missing_grants(await shown_grants(connection), [schema]).values():
                raise Unavailable(f"MySQL: the account lacks privileges; run as an administrator: {statement}")
    finally:
        await engine.dispose()


async def shown_grants(connection: AsyncConnection) -> Sequence[str]:
    """What SHOW GRANTS shows of this account, with those of its roles."""
    roles = await connection.scalar(text("SELECT NULLIF(CURRENT_ROLE(), 'NONE')"))
    # Without USING, MySQL does not show the privileges of roles.
    using = f" USING {roles}" if roles else ""
    return (await connection.execute(text(f"SHOW GRANTS FOR CURRENT_USER(){using}"))).scalars().all()


async def change_tables(address: str, routes: Iterable[Route], *, apply: bool) -> list[str]:
    """The missing statements. Replicas that start concurrently wait for each other.

    Raises `UnfitTable`, `RouteRefused`, `Unavailable`, `TimeoutError`.
    """
    wanted = [route for route in routes if route.target.store == "mysql"]
    async with alone_in_schema(address) as connection:
        statements = await _missing_schemas(connection, wanted)
        for route in wanted:
            statements += await _statements(connection, route)
        if apply:
            for statement in statements:
                await connection.exec_driver_sql(statement)
        return statements


async def drop_table(address: str, route: Route) -> None:
    """Drop the view and the table of a copy, if there are any.

    Raises `UnfitTable` if the sync has not created them, `RouteRefused`, `Unavailable`, `TimeoutError`.
    """
    async with alone_in_schema(address) as connection:
        for statement in dropping(route, await existing_tables(connection, route, route.target.database)):
            await connection.exec_driver_sql(statement)


@asynccontextmanager
async def alone_in_schema(address: str) -> AsyncIterator[AsyncConnection]:
    """A connection while no other process changes the tables. Raises `RouteRefused`, `Unavailable`, `TimeoutError`."""
    engine = create_engine(address, pool_size=2)
    try:
        async with (
            server_lock(engine, f"migrate {mysql_url(address).database}", LOCK_SECONDS),
            engine.connect() as connection,
        ):
            yield connection
    except DBAPIError as error:
        raise translated(error, of_row=False) from error
    finally:
        await engine.dispose()


async def _missing_schemas(connection: AsyncConnection, routes: Sequence[Route]) -> list[str]:
    """The statements that create the schemas that routes name and the server lacks, or does not show."""
    wanted = {route.target.database for route in routes if route.target.database is not None}
    shown = await existing_schemas(connection) if wanted else frozenset()
    return [
        f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci" for name in sorted(wanted - shown)
    ]


async def existing_schemas(connection: AsyncConnection) -> frozenset[str]:
    """The schemas that the account may see."""
    return frozenset((await connection.execute(text("SELECT schema_name FROM information_schema.schemata"))).scalars())


async def _statements(connection: AsyncConnection, route: Route) -> list[str]:
    existing = await existing_tables(connection, route, route.target.database)
    if route.target.database is None or route.target.copy_name in existing:
        return missing(route, existing)
    schema: str = (await connection.execute(text("SELECT DATABASE()"))).scalar_one()
    earlier = await existing_tables(connection, route, schema)
    statements = moved(route, schema, earlier)
    if statements:
        existing = {**existing, route.target.copy_name: earlier[route.target.copy_name]}
    return [*statements, *missing(route, existing)]


async def existing_copy(connection: AsyncConnection, route: Route) -> ExistingTable | None:
    """The table of the copy, also where it moves from; None if there is none yet."""
    name, database = route.target.copy_name, route.target.database
    found = (await existing_tables(connection, route, database)).get(name)
    if found is None and database is not None:
        found = (await existing_tables(connection, route, None)).get(name)
    return found


async def existing_tables(connection: AsyncConnection, route: Route, schema: str | None) -> Mapping[str, ExistingTable]:
    """The existing table and view of the route in a schema, by name; None for that of the connection."""
    query = text(
        "SELECT t.table_name AS name, t.table_type = 'VIEW' AS is_view, c.column_name AS `column`, "
        "c.column_type AS type, "
        "c.column_key = 'PRI' AS is_key "
        "FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name) "
        "WHERE t.table_schema = COALESCE(:schema, DATABASE()) AND t.table_name = :name ORDER BY c.ordinal_position"
    )
    existing = {}
    for name in (route.target.name, route.target.copy_name):
        rows = (await connection.execute(query, {"schema": schema, "name": name})).all()
        if rows:
            existing[name] = ExistingTable(
                columns={row.column: row.type for row in rows},
                key=[row.column for row in rows if row.is_key],
                is_view=bool(rows[0].is_view),
            )
    return existing
