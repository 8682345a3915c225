"""Both databases with administrator rights. All calls block, so callers use threads."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymongo
import pymysql
from pymongo.database import Database
from pymysql.cursors import DictCursor
from sqlalchemy.engine import make_url

from sync_service.routes.config import Route

SYNC_ACCOUNT = "sync_service"
_DEADLOCK, _NO_SUCH_THREAD = 1213, 1094


class Databases:
    def __init__(self, mysql_root_url: str, mongodb_url: str) -> None:
        url = make_url(mysql_root_url)
        self.mysql_address: dict[str, Any] = {
            "host": url.host,
            "port": url.port or 3306,
            "user": url.username,
            "password": url.password or "",
            "charset": "utf8mb4",
        }
        self.client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(mongodb_url, tz_aware=True)
        self.documents = self.client.get_default_database()

    def copies(self, route: Route) -> Database[dict[str, Any]]:
        """MongoDB's database with the copy of the route."""
        return self.documents if route.target.database is None else self.client[route.target.database]

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def mysql(self) -> Iterator[Any]:
        """Open a connection as root for one use: the server may have been killed since the last use."""
        connection = pymysql.connect(**self.mysql_address, cursorclass=DictCursor, autocommit=True, connect_timeout=5)
        with closing(connection):
            yield connection

    def query(self, statement: str, *parameters: object) -> Sequence[dict[str, Any]]:
        with self.mysql() as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            rows: Sequence[dict[str, Any]] = cursor.fetchall()
            return rows

    @contextmanager
    def table_locked(self, table: str) -> Iterator[None]:
        """Lock every row of the table and every gap between rows: all writes to it wait."""
        with self.mysql() as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            while True:
                cursor.execute("BEGIN")
                try:
                    cursor.execute(f"SELECT COUNT(*) FROM {table} FOR UPDATE")  # noqa: S608 - a name of ours
                except pymysql.err.OperationalError as error:
                    if error.args[0] != _DEADLOCK:
                        raise
                else:
                    break
            yield
            cursor.execute("ROLLBACK")

    def has_lock_waiters(self, table: str) -> bool:
        """Whether a transaction waits for a lock of any row of the table."""
        schema, name = table.split(".")
        waiting = "SELECT 1 FROM performance_schema.data_locks WHERE lock_status = 'WAITING'"
        return bool(self.query(f"{waiting} AND object_schema = %s AND object_name = %s LIMIT 1", schema, name))

    def kill_sync_connections(self) -> None:
        threads = self.query("SELECT id AS thread FROM performance_schema.processlist WHERE user = %s", SYNC_ACCOUNT)
        for row in threads:
            try:
                self.query(f"KILL {row['thread']:d}")
            except pymysql.err.OperationalError as error:
                if error.args[0] != _NO_SUCH_THREAD:  # it has ended by itself
                    raise
