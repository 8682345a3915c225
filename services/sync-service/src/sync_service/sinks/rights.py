"""What the accounts of the connector and of the sync need for a new route, as statements for an administrator."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from service_kit.mysql import create_engine
from sync_service.routes.config import Route
from sync_service.sinks.mongodb import errors as mongodb_errors
from sync_service.sinks.mongodb.grants import Account, Command, commands_of_copies, commands_of_source
from sync_service.sinks.mysql.errors import translated
from sync_service.sinks.mysql.grants import grants_of_copies, grants_of_source
from sync_service.sinks.source_declaration import Source

# The connector's account, as `infra/mysql/accounts.sql` and `infra/mongo/accounts.js` call it.
_CONNECTOR = "debezium"
_EXISTS_ALREADY = 51002


@dataclass(frozen=True, slots=True)
class Rights:
    """Statements of SQL, and commands for MongoDB."""

    sql: Sequence[str] = ()
    commands: Sequence[Command] = field(default=())

    @property
    def statements(self) -> Sequence[str]:
        """All of them, as they are typed into `mysql` and `mongosh`."""
        return [f"{each};" for each in (*self.sql, *self.commands)]


@dataclass(frozen=True, slots=True)
class Administrators:
    """Addresses with the accounts of administrators, as far as they are given."""

    mysql_url: str | None = None
    mongodb_url: str | None = None

    def missing_for(self, rights: Rights) -> Sequence[str]:
        """The variables that must be set to grant the rights."""
        needed = [
            ("MYSQL_ROOT_URL", rights.sql, self.mysql_url),
            ("MONGODB_ADMIN_URL", rights.commands, self.mongodb_url),
        ]
        return [name for name, statements, url in needed if statements and not url]

    async def grant(self, rights: Rights) -> None:
        """Raises `RouteRefused`, `Unavailable`. Nothing may be missing."""
        if rights.sql:
            await _grant_in_mysql(rights.sql, self.mysql_url or "")
        if rights.commands:
            await _grant_in_mongodb(rights.commands, self.mongodb_url or "")


def needed_rights(route: Route, source: Source, mysql_url: str, mongodb_url: str) -> Rights:
    """Those of the route, whether the accounts have them already or not. A MongoDB without accounts needs none."""
    database, table = route.source or ("", "")
    sync = make_url(mysql_url).username or ""
    mongodb_sync = Account.of(mongodb_url)
    copies = route.target.database
    if route.source_store == "mysql":
        connector = os.environ.get(f"{source.environment}_USER", _CONNECTOR)
        grants = grants_of_source(database, table, [connector, sync])
        return Rights(grants, commands_of_copies(copies, mongodb_sync) if mongodb_sync and copies else ())
    address = os.environ.get(f"{source.environment}_URL")
    grants = grants_of_copies(copies, sync) if copies else []
    if mongodb_sync is None:
        return Rights(grants)
    connector_account = Account.of(address) if address else Account(_CONNECTOR, mongodb_sync.database)
    return Rights(grants, commands_of_source(database, connector_account or mongodb_sync, mongodb_sync))


async def _grant_in_mysql(statements: Sequence[str], address: str) -> None:
    engine = create_engine(address, pool_size=1)
    try:
        async with engine.connect() as connection:
            # Otherwise the driver takes % for the place of a parameter.
            plain = await connection.execution_options(no_parameters=True)
            for statement in statements:
                await plain.exec_driver_sql(statement)
    except DBAPIError as error:
        raise translated(error, of_row=False) from error
    finally:
        await engine.dispose()


async def _grant_in_mongodb(commands: Sequence[Command], address: str) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(address, serverSelectionTimeoutMS=5000)
    try:
        for command in commands:
            try:
                await client[command.database].command(dict(command.body))
            except OperationFailure as error:
                if error.code != _EXISTS_ALREADY:
                    raise
    except PyMongoError as error:
        raise mongodb_errors.translated(error, of_row=False) from error
    finally:
        await client.close()
