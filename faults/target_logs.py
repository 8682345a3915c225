"""The targets' own logs: every state of every row of a copy, in order.

MySQL's binary log holds whole rows, and GTIDs find the place in it on each server. MongoDB's change stream holds whole
documents once the collection stores post-images. Each read starts where the last one ended, so no background reader has
to keep up.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import pymysql
from pymongo.errors import PyMongoError
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import GtidEvent, RotateEvent
from pymysqlreplication.gtid import Gtid, GtidSet
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from faults.databases import Databases
from faults.regressions import RegressionDetector, RowVersion, version_fields
from faults.replica_diff import key_text
from sync_service.debezium.positions import LogPosition
from sync_service.routes.config import Route

# It warns on every open that the binary log has no column names.
logging.getLogger("pymysqlreplication").setLevel(logging.ERROR)

_MARKERS = "fault_marks"
_SERVER_ID = 77_000_001
_ATTEMPTS = 5


class MysqlLog:
    def __init__(self, databases: Databases, routes: Iterable[Route], regressions: RegressionDetector) -> None:
        self._databases = databases
        self._routes = {f"{route.target.name}_copy": route for route in routes if route.target.store == "mysql"}
        self._regressions = regressions
        self._columns = {table: self._columns_of(table) for table in self._routes}
        (executed,) = databases.query("SELECT @@GLOBAL.gtid_executed AS gtids")
        self._read = GtidSet(executed["gtids"])

    def _columns_of(self, table: str) -> dict[str, int]:
        """Return the index of each column: the log has no names."""
        rows = self._databases.query(
            "SELECT column_name AS name, ordinal_position AS place FROM information_schema.columns "
            "WHERE table_schema = 'tweets' AND table_name = %s",
            table,
        )
        return {row["name"]: row["place"] - 1 for row in rows}

    def read(self) -> None:
        """Read the transactions of the current primary that were not read before, up to the end of its log."""
        reader = BinLogStreamReader(
            connection_settings={**self._databases.mysql_address, "connect_timeout": 5},
            pymysql_wrapper=_connect,
            server_id=_SERVER_ID,
            auto_position=str(self._read),
            only_schemas=["tweets"],
            only_tables=list(self._routes),
            only_events=[RotateEvent, GtidEvent, WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
            enable_logging=False,
        )
        try:
            for event in reader:
                if isinstance(event, RotateEvent):
                    # A restarted server assigns new table ids, and writes no rotation after a crash.
                    reader.table_map.clear()
                    continue
                if isinstance(event, GtidEvent):
                    self._read += Gtid(event.gtid)
                    continue
                place = f"{reader.log_file}:{reader.log_pos}"
                for change in event.rows:
                    image = change["after_values"] if isinstance(event, UpdateRowsEvent) else change["values"]
                    self._observe(event.table, image, place, gone=isinstance(event, DeleteRowsEvent))
        finally:
            reader.close()

    def _observe(self, table: str, image: Mapping[str, Any], place: str, *, gone: bool) -> None:
        route, columns, values = self._routes[table], self._columns[table], list(image.values())
        key = key_text(values[columns[name]] for name in route.key)
        deleted = gone or values[columns["sync_deleted_at"]] is not None
        version = tuple(values[columns[name]] for name in version_fields(route.target.name))
        position = LogPosition.stored(values[columns["sync_epoch"]], values[columns["sync_position"]])
        self._regressions.observe(route.target.name, key, None if deleted else version, place, position)


def _connect(**settings: Any) -> Any:
    """Connect as the log reader does, with the current argument names of pymysql."""
    database = settings.pop("db", None)
    return pymysql.connect(**settings, database=database)


class MongoLog:
    def __init__(self, databases: Databases, routes: Iterable[Route], regressions: RegressionDetector) -> None:
        self._copies = {f"{route.target.name}_copy": route for route in routes if route.target.store == "mongodb"}
        # All copies are in one database.
        (self._documents,) = {databases.copies(route) for route in self._copies.values()}
        self._regressions = regressions
        for copy in self._copies:
            self._documents.command({"collMod": copy, "changeStreamPreAndPostImages": {"enabled": True}})
        with self._documents.watch(self._pipeline) as stream:
            stream.try_next()
            self._token = stream.resume_token

    @property
    def _pipeline(self) -> list[dict[str, Any]]:
        return [{"$match": {"ns.coll": {"$in": [*self._copies, _MARKERS]}}}]

    def read(self) -> None:
        """Read up to a marker that is inserted now. Reconnect when the connection is lost."""
        marker = str(uuid4())
        self._documents[_MARKERS].insert_one({"_id": marker})
        for attempt in range(_ATTEMPTS):
            try:
                self._read_up_to(marker)
            except PyMongoError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _read_up_to(self, marker: str) -> None:
        with self._documents.watch(self._pipeline, full_document="required", resume_after=self._token) as stream:
            for change in stream:
                self._token = change["_id"]
                copy, key = change["ns"]["coll"], change["documentKey"]["_id"]
                if copy == _MARKERS:
                    if key == marker:
                        return
                    continue
                self._observe(copy, str(key), change)

    def _observe(self, copy: str, key: str, change: Mapping[str, Any]) -> None:
        target = self._copies[copy].target.name
        place = f"oplog {change['clusterTime'].time}.{change['clusterTime'].inc}"
        stored = (change.get("fullDocument") or {}).get("_sync", {})
        position = LogPosition.stored(stored.get("epoch"), stored.get("position"))
        self._regressions.observe(target, key, _version(target, change), place, position)


def _version(target: str, change: Mapping[str, Any]) -> RowVersion | None:
    if change["operationType"] == "delete":
        return None
    document = change["fullDocument"]
    if document["_sync"]["deleted_at"] is not None:
        return None
    return tuple(document[name] for name in version_fields(target))
