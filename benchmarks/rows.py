"""Generated users and tweets, written directly into source and copy, as the sync would write them."""

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.apply.ordering import Version, offset, topic_partition
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.databases import copy_database
from sync_service.sinks.mysql.json_text import json_text

ItemT = TypeVar("ItemT")
Row = dict[str, Any]

_BATCH_ROWS = 2000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_WORDS = ("coffee", "naïve", "Straße", "日本語", "🎉", "the", "sync", "of", "two", "stores", "it's", "\\", "\t")
_VERSION = Version(topic_partition("1" * 32, 0), offset(7), None, "r")


async def fill_users(engine: AsyncEngine, mongo: "AsyncIOMotorClient[Any]", route: Route, rows: int) -> None:
    """Fill `auth.users` and its copy."""
    copy = copy_database(mongo, route)[route.target.copy_name]
    for users in _batches(_users(rows)):
        await _insert(engine, "auth.users", users)
        documents = [
            {"_id": user["id"], **{name: user[name] for name in route.fields}, "_sync": _document_version()}
            for user in users
        ]
        await copy.insert_many(documents, ordered=False)


async def fill_tweets(engine: AsyncEngine, mongo: "AsyncIOMotorClient[Any]", route: Route, rows: int) -> None:
    """Fill `tweets.tweets` and its copy."""
    source = mongo.get_default_database()["tweets"]
    for tweets in _batches(_tweets(rows)):
        copies = [
            {
                "id": str(tweet["_id"]),
                **{name: str(value) if isinstance(value := tweet[name], ObjectId) else value for name in route.fields},
                "entities": json_text(tweet["entities"]),
                "sync_event": _VERSION.event,
                "sync_epoch": "",
                "sync_position": None,
                "sync_operation": _VERSION.operation,
            }
            for tweet in tweets
        ]
        await _insert(engine, f"tweets.{route.target.name}_copy", copies)
        await source.insert_many(tweets, ordered=False)


def _users(rows: int) -> Iterator[Row]:
    rng = random.Random(1)  # noqa: S311 - test data
    for number in range(rows):
        created = _BEGIN + timedelta(microseconds=rng.randrange(10**13))
        yield {
            "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "username": f"user_{number}",
            "name": f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}",
            "email": f"user_{number}@example.com",
            "role": "customer",
            "is_active": rng.random() > 0.1,
            "tokens_valid_after": None if rng.random() < 0.8 else created + timedelta(microseconds=1),
            "ended_sessions": None,
            "created_at": created,
            "updated_at": created + timedelta(seconds=1),
        }


def _tweets(rows: int) -> Iterator[Row]:
    rng = random.Random(2)  # noqa: S311 - test data
    for number in range(rows):
        created = _BEGIN + timedelta(milliseconds=number)
        tag = rng.choice(_WORDS)
        yield {
            "_id": ObjectId(f"{number:024x}"),
            "author_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "text": f"#{tag} {' '.join(rng.choices(_WORDS, k=12))}",
            "created_at": created,
            "edited_at": created if rng.random() < 0.1 else None,
            "version": 1,
            "reply_to": ObjectId(f"{number // 2:024x}") if rng.random() < 0.3 else None,
            "repost_of": None,
            "quote_of": None,
            "entities": {"hashtags": [{"tag": tag, "start": 0, "end": len(tag) + 1}], "mentions": [], "urls": []},
            "tags": [tag],
            "ancestors": [],
            "lang": rng.choice(("en", "de", None)),
            "source": "web",
            "edits": [],
        }


def _document_version() -> Row:
    return {
        "stream": _VERSION.topic_partition,
        "offset": _VERSION.offset,
        "epoch": "",
        "position": None,
        "operation": _VERSION.operation,
        "deleted_at": None,
    }


def _batches(items: Iterator[ItemT]) -> Iterator[list[ItemT]]:
    while batch := list(islice(items, _BATCH_ROWS)):
        yield batch


async def _insert(engine: AsyncEngine, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    places = f"({', '.join(['%s'] * len(names))})"
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([places] * len(rows))}"  # noqa: S608 - names of ours
    values = tuple(_naive(row[name]) for row in rows for name in names)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(statement, values)


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
