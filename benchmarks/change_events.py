"""Generated change events in Debezium's format, with realistic sizes, for benchmarks of the sync.

Every row occurs once, with a null `before`, as in a first snapshot that arrives as a stream.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Record = tuple[bytes, bytes]

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_SERVER = "83706761-e7b5-11f1-ad0a-02fc00000001"
_AUTHORS = 50
# Kafka Connect's types of the columns and of the other fields of an event.
_USER_TYPES = {
    "id": "string",
    "username": "string",
    "name": "string",
    "role": "string",
    "is_active": "int16",
    "tokens_valid_after": "string",
    "created_at": "string",
    "updated_at": "string",
}
_SOURCE_TYPES = {
    **dict.fromkeys(("version", "connector", "name"), "string"),
    "ts_ms": "int64",
    "snapshot": "string",
    **dict.fromkeys(("db", "sequence", "table"), "string"),
    "server_id": "int64",
    **dict.fromkeys(("gtid", "file"), "string"),
    "pos": "int64",
    "row": "int32",
    "thread": "int64",
    "query": "string",
}


def user(number: int) -> dict[str, Any]:
    """Return a row of `auth.users` in the connector's format, which has no address."""
    moment = (_BEGAN + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "id": str(UUID(int=number + 1)),
        "username": f"bench_{number}",
        "name": f"Bench Mark {number}",
        "role": "customer",
        "is_active": 1,
        "tokens_valid_after": None,
        "created_at": moment,
        "updated_at": moment,
    }


def tweet(number: int) -> dict[str, Any]:
    """Return a document of `tweets.tweets` in the connector's format."""
    milliseconds = int((_BEGAN + timedelta(seconds=number)).timestamp() * 1000)
    hashtag, url = "#bench", f"https://example.org/{number}"
    text = f"Number {number} says hello to everybody who reads on: {hashtag} at {url}"
    return {
        "_id": {"$oid": f"{number + 1:024x}"},
        "text": text,
        "author_id": str(UUID(int=number % _AUTHORS + 1)),
        "created_at": {"$date": milliseconds},
        "edited_at": None,
        "version": 1,
        "reply_to": None,
        "repost_of": None,
        "quote_of": None,
        "entities": {
            "hashtags": [{"tag": "bench", "start": text.index(hashtag), "end": text.index(hashtag) + len(hashtag)}],
            "mentions": [],
            "urls": [{"url": url, "start": text.index(url), "end": len(text)}],
        },
        "tags": ["bench"],
        "ancestors": [],
        "lang": None,
        "source": None,
        "edits": [],
    }


def users(count: int) -> Iterator[Record]:
    for number in range(count):
        row = user(number)
        yield _json({"id": row["id"]}), _json(_user_event(number, row))


def users_with_schemas(count: int) -> Iterator[Record]:
    """Yield the same events with Kafka Connect's schemas, which Debezium's sinks require."""
    key_schema = _struct("cdc.mysql.auth.users.Key", {"id": "string"})
    row_schema = _struct("cdc.mysql.auth.users.Value", _USER_TYPES, optional=True)
    schema = _struct("cdc.mysql.auth.users.Envelope", {"op": "string", "ts_ms": "int64"})
    schema["fields"] += [{**row_schema, "field": "before"}, {**row_schema, "field": "after"}]
    schema["fields"] += [{**_struct("io.debezium.connector.mysql.Source", _SOURCE_TYPES), "field": "source"}]
    for number in range(count):
        row = user(number)
        key = {"schema": key_schema, "payload": {"id": row["id"]}}
        yield _json(key), _json({"schema": schema, "payload": _user_event(number, row)})


def tweets(count: int) -> Iterator[Record]:
    for number in range(count):
        document = tweet(number)
        yield _json({"id": json.dumps(document["_id"])}), _json(_tweet_event(number, document))


def _user_event(number: int, row: dict[str, Any]) -> dict[str, Any]:
    milliseconds = int((_BEGAN + timedelta(seconds=number)).timestamp() * 1000)
    source = {
        "version": "3.6.3.Final",
        "connector": "mysql",
        "name": "cdc.mysql",
        "ts_ms": milliseconds,
        "snapshot": "false",
        "db": "auth",
        "sequence": None,
        "table": "users",
        "server_id": 1,
        "gtid": f"{_SERVER}:{number + 1}",
        "file": "binlog.000002",
        "pos": 1000 + 400 * number,
        "row": 0,
        "thread": 23,
        "query": None,
    }
    return {"before": None, "after": row, "source": source, "op": "c", "ts_ms": milliseconds + 7}


def _tweet_event(number: int, document: dict[str, Any]) -> dict[str, Any]:
    milliseconds = document["created_at"]["$date"]
    source = {
        "version": "3.6.3.Final",
        "connector": "mongodb",
        "name": "cdc.mongo",
        "ts_ms": milliseconds,
        "snapshot": "false",
        "db": "tweets",
        "sequence": None,
        "collection": "tweets",
        "ord": number % 100 + 1,
        "lsid": None,
        "txnNumber": None,
        "wallTime": milliseconds,
    }
    state = {"before": None, "after": json.dumps(document), "updateDescription": None}
    return {**state, "source": source, "op": "c", "ts_ms": milliseconds + 30, "transaction": None}


def _struct(name: str, types: dict[str, str], *, optional: bool = False) -> dict[str, Any]:
    fields = [{"type": each, "optional": field != "id", "field": field} for field, each in types.items()]
    return {"type": "struct", "fields": fields, "optional": optional, "name": name}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
