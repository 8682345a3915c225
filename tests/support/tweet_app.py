"""A database and tweets for tests of tweet-service."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pymongo
from pymongo.database import Database

Documents = Database[dict[str, Any]]


@dataclass(frozen=True)
class OwnDatabase:
    """`url` is for a service, `documents` is direct access."""

    url: str
    documents: Documents


@contextmanager
def own_database(mongodb_url: str) -> Iterator[OwnDatabase]:
    """A new database, which is dropped at the end. `mongodb_url` is the fixture of that name."""
    url = mongodb_url.replace("/?", f"/tweet_test_{secrets.token_hex(4)}?")
    with pymongo.MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        documents = client.get_default_database()
        try:
            yield OwnDatabase(url, documents)
        finally:
            client.drop_database(documents.name)


@contextmanager
def profiled(documents: Documents) -> Iterator[list[dict[str, Any]]]:
    """What MongoDB reports of the operations on `tweets` in this block, once it has ended."""
    operations: list[dict[str, Any]] = []
    documents.command("profile", 2)
    try:
        yield operations
    finally:
        documents.command("profile", 0)
        operations += documents["system.profile"].find({"ns": f"{documents.name}.tweets"})
        documents["system.profile"].drop()


async def post(client: httpx.AsyncClient, text: str = "hello", **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/tweets", json={"text": text, **more})
    assert answer.status_code == 201, answer.text
    tweet: dict[str, Any] = answer.json()
    return tweet
