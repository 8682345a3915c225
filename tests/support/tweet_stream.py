"""Processes of tweet-service with a stream, and authors of tweets."""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pymongo.uri_parser
from pymongo.database import Database

from embedded_stack import Stack
from support.jwt_issuer import AUDIENCE, ISSUER, Issuer
from support.replicas import Replica, running_processes
from support.sse import Listener
from tweet_service.tweets.service import new_tweet

Documents = Database[dict[str, Any]]
HEARTBEAT_SECONDS = 0.4
# Of the fixture `small_buffer`.
BUFFERED = 40
Listen = Callable[..., Awaitable[Listener]]


@asynccontextmanager
async def serving(stack: Stack, issuer: Issuer, mongodb_url: str, **variables: str) -> AsyncIterator[Replica]:
    own = {
        "MONGODB_URL": mongodb_url,
        "TWEET_USERS_DATABASE": pymongo.uri_parser.parse_uri(mongodb_url)["database"],
        "AUTH_JWKS_URL": issuer.url,
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "TWEET_STREAM_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
    }
    async with running_processes("tweet-service", 1, stack, **{**own, **variables}) as (replica,):
        yield replica


class Author:
    """A user of one test, who writes tweets."""

    def __init__(self, client: httpx.AsyncClient, issuer: Issuer, documents: Documents) -> None:
        self.id = f"u-{secrets.token_hex(6)}"
        self.username = f"ada_{secrets.token_hex(4)}"
        self._client = client
        self._headers = {"Authorization": f"Bearer {issuer.token(sub=self.id, username=self.username)}"}
        self._documents = documents
        documents["users_copy"].insert_one({"_id": self.id, "username": self.username, "name": "Ada"})

    async def post(self, text: str = "x") -> dict[str, Any]:
        answer = await self._client.post("/v1/tweets", json={"text": text}, headers=self._headers)
        assert answer.status_code == 201, answer.text
        tweet: dict[str, Any] = answer.json()
        return tweet

    async def edit(self, tweet: dict[str, Any], text: str) -> dict[str, Any]:
        answer = await self._client.patch(
            f"/v1/tweets/{tweet['id']}", json={"text": text}, headers={**self._headers, "If-Match": "*"}
        )
        assert answer.status_code == 200, answer.text
        edited: dict[str, Any] = answer.json()
        return edited

    async def delete(self, tweet: dict[str, Any]) -> None:
        answer = await self._client.delete(f"/v1/tweets/{tweet['id']}", headers=self._headers)
        assert answer.status_code == 204, answer.text

    def store(self, count: int, text: str = "x") -> list[str]:
        """Store many tweets in the database, without the service. Returns their ids."""
        tweets = [dict(new_tweet(self.id, text)) for _ in range(count)]
        self._documents["tweets"].insert_many(tweets)
        return [str(tweet["_id"]) for tweet in tweets]


async def metric(replica: Replica, name: str) -> float:
    text = (await replica.client.get("/metrics")).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def ids(listener: Listener, count: int) -> list[str]:
    """The tweet ids of the next events."""
    return [(await listener.event()).data["id"] for _ in range(count)]
