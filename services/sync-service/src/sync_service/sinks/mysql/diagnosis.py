"""What `sync-service doctor` asks MySQL."""

import time
from collections.abc import Collection, Sequence
from datetime import UTC
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.mysql import create_engine, mysql_url
from sync_service.check_results import Result, clock_result
from sync_service.routes.config import Route
from sync_service.sinks.diagnosis import sources_to_check
from sync_service.sinks.mysql.errors import start_problem
from sync_service.sinks.mysql.grants import grants_of_source, missing_grants
from sync_service.sinks.mysql.schema import migrations_folder, shown_grants
from sync_service.sinks.mysql.table import visible_tables_by

_SERVER = "MySQL"


async def mysql_results(address: str, routes: Sequence[Route], elsewhere: Collection[str]) -> list[Result]:
    """Whether it answers, its clock, the migrations of the own schema, and the rights of the account.

    `elsewhere` are the routes whose source is on another server.
    """
    engine = create_engine(address, pool_size=1)
    try:
        async with engine.connect() as connection:
            version = await connection.scalar(text("SELECT VERSION()"))
            return [
                Result(_SERVER, True, f"version {version} answers"),
                await _clock(connection),
                await _migrations(connection, migrations_folder()),
                *await _rights(connection, address, routes, elsewhere),
            ]
    except (DBAPIError, OSError) as error:
        return [Result(_SERVER, False, start_problem(error), "start MySQL, or correct MYSQL_URL")]
    finally:
        await engine.dispose()


async def _clock(connection: AsyncConnection) -> Result:
    begun = time.time()
    server_time = await connection.scalar(text("SELECT UTC_TIMESTAMP(6)"))
    ended = time.time()
    return clock_result(_SERVER, server_time.replace(tzinfo=UTC).timestamp() - (begun + ended) / 2, ended - begun)


async def _migrations(connection: AsyncConnection, scripts: Path) -> Result:
    head = ScriptDirectory(str(scripts)).get_current_head()
    tables = (await connection.execute(text("SHOW TABLES LIKE 'alembic_version'"))).all()
    applied = await connection.scalar(text("SELECT version_num FROM alembic_version")) if tables else None
    if applied == head:
        return Result("migrations", True, f"{applied}, the latest one")
    remedy = "sync-service applies them at its start: start it in this version, and see its log"
    return Result("migrations", False, f"{applied or 'none'} is applied, and the latest one is {head}", remedy)


async def _rights(
    connection: AsyncConnection, address: str, routes: Sequence[Route], elsewhere: Collection[str]
) -> list[Result]:
    own = mysql_url(address)
    copies = {own.database, *(each.target.database for each in routes if each.target.store == "mysql")} - {None}
    missing = missing_grants(await shown_grants(connection), [name for name in copies if name])
    remedies = [f"{grant};" for grant in missing.values()]
    sources, unchecked = sources_to_check(routes, "mysql", elsewhere)
    visible = await visible_tables_by(connection, sources)
    for schema, table in sources:
        if (schema.lower(), table.lower()) not in visible:
            remedies += [f"{grant};" for grant in grants_of_source(schema, table, [own.username or ""])]
    name = f"rights in {_SERVER}"
    if remedies:
        missing_rights = Result(name, False, "some are missing, or a table does not exist", " ".join(remedies))
        return [missing_rights, *unchecked]
    detail = f"copies in {', '.join(sorted(map(str, copies)))}, and {len(sources)} sources"
    return [Result(name, True, detail), *unchecked]
