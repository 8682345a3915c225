"""Records as Debezium writes them, for tests that put their own on a topic."""

import json
from typing import Any

SERVER = "83706761-e7b5-11f1-ad0a-02fc00000001"

Record = tuple[bytes, bytes | None]


def mysql_event(
    row: dict[str, Any],
    *,
    op: str = "c",
    pos: int = 100,
    file: str = "binlog.000002",
    row_number: int = 0,
    server: str | None = SERVER,
) -> Record:
    """Key and value for a row of a table with the primary key `id`. For a delete, `row` is the deleted one.

    `pos` is the number of its transaction, too.
    """
    snapshot = op == "r"
    value = {
        "before": row if op == "d" else None,
        "after": None if op == "d" else row,
        "source": {
            "version": "3.6.3.Final",
            "connector": "mysql",
            "name": "cdc.mysql",
            "ts_ms": 1795490254088,
            "snapshot": "true" if snapshot else "false",
            "db": "auth",
            "sequence": None,
            "table": "users",
            "server_id": 0 if snapshot else 1,
            "gtid": None if snapshot or server is None else f"{server}:{pos}",
            "file": file,
            "pos": pos,
            "row": row_number,
            "thread": 23,
            "query": None,
        },
        "transaction": None,
        "op": op,
        "ts_ms": 1795490254095,
    }
    return json.dumps({"id": row["id"]}).encode(), json.dumps(value).encode()


USER_COLUMNS = ("username", "name", "role", "is_active", "tokens_valid_after", "created_at", "updated_at")


def user_event(row: dict[str, Any], **options: Any) -> Record:
    """As `mysql_event`, with every column that the route of users copies: MySQL writes all of them."""
    return mysql_event({**dict.fromkeys(USER_COLUMNS), **row}, **options)


def mongodb_event(
    document: dict[str, Any], *, op: str = "c", ts_ms: int = 1795490254132, ordinal: int = 1, **changed: Any
) -> Record:
    """Key and value for a document with an ObjectId; its values are Extended JSON already."""
    value = {
        "before": None,
        "after": None if op == "d" else json.dumps(document),
        "updateDescription": None,
        "source": {
            "version": "3.6.3.Final",
            "connector": "mongodb",
            "name": "cdc.mongo",
            "ts_ms": ts_ms,
            "snapshot": "true" if op == "r" else "false",
            "db": "tweets",
            "sequence": None,
            "collection": "tweets",
            "ord": -1 if op == "r" else ordinal,
            "wallTime": ts_ms,
        },
        "op": op,
        "ts_ms": ts_ms + 30,
        "transaction": None,
        **changed,
    }
    key = {"id": json.dumps(document["_id"])}
    return json.dumps(key).encode(), json.dumps(value).encode()
