"""tweet-service's baseline: Starlette routes on the same driver, with tweet-service's queries.

A read joins the tweet with its counts and its author in one round trip. A page of the home timeline finds the followed
users, their tweets, and then the counts and authors of all of them, which is faster than a join. A new tweet is
inserted, and its author is read.

The baseline checks no token, limit or body, has no entity tags, and neither logs nor counts. Each request has its own
queries, while tweet-service batches those of concurrent requests. tweet-service's code creates the database client, so
that the options are the same.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service_kit.times import rfc3339
from tweet_service import database
from tweet_service.follows import repository as follows
from tweet_service.profiles import repository as profiles
from tweet_service.tweets import repository as tweets
from tweet_service.tweets.service import new_tweet

if TYPE_CHECKING:
    from tweet_service.database import Database

Document = dict[str, Any]

PAGE = 20
AUTHOR = ("username", "name")
JOIN: list[Document] = [
    {"$lookup": {"from": tweets.COUNTS_COLLECTION, "localField": "_id", "foreignField": "_id", "as": "counts"}},
    {"$lookup": {"from": profiles.COLLECTION, "localField": "author_id", "foreignField": "_id", "as": "author"}},
    {"$unset": list(tweets.SHOWN)},
]


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    client = database.connect(os.environ["BASELINE_MONGODB_URL"])
    app.state.database = client.get_default_database()
    yield
    client.close()


async def read_tweet(request: Request) -> JSONResponse:
    found: Database = request.app.state.database
    wanted = {"_id": ObjectId(request.path_params["tweet_id"])}
    page = await found[tweets.COLLECTION].aggregate([{"$match": wanted}, *JOIN]).to_list(1)
    if not page:
        return JSONResponse(None, 404)
    (tweet,) = page
    return JSONResponse(_shown(tweet, next(iter(tweet["author"]), None), next(iter(tweet["counts"]), {})))


async def read_timeline(request: Request) -> JSONResponse:
    found: Database = request.app.state.database
    user_id = _caller(request)
    followed = found[follows.COLLECTION].find({"_id.follower_id": user_id})
    newest_first = followed.sort([("created_at", -1), ("_id.followee_id", -1)]).limit(1000)
    people = [follow["_id"]["followee_id"] for follow in await newest_first.to_list(1000)]
    wanted = {"author_id": {"$in": [user_id, *people]}}
    newest = found[tweets.COLLECTION].find(wanted, tweets.SHOWN).sort(tweets.NEWEST_FIRST).limit(PAGE + 1)
    page = await newest.to_list(PAGE + 1)
    next_cursor = str(page[-1]["_id"]) if len(page) > PAGE else None
    shown = page[:PAGE]
    authors, counts = await asyncio.gather(
        _by_id(found[profiles.COLLECTION], {tweet["author_id"] for tweet in shown}, AUTHOR),
        _by_id(found[tweets.COUNTS_COLLECTION], [tweet["_id"] for tweet in shown]),
    )
    items = [_shown(tweet, authors.get(tweet["author_id"]), counts.get(tweet["_id"], {})) for tweet in shown]
    return JSONResponse({"items": items, "next_cursor": next_cursor})


async def post_tweet(request: Request) -> JSONResponse:
    found: Database = request.app.state.database
    body = await request.json()
    tweet = dict(new_tweet(_caller(request), body["text"]))
    await found[tweets.COLLECTION].insert_one(tweet)
    author = await found[profiles.COLLECTION].find_one({"_id": tweet["author_id"]}, AUTHOR)
    return JSONResponse(_shown(tweet, author, {}), 201)


def _caller(request: Request) -> str:
    """The bearer token is the user's id, unchecked."""
    return request.headers["Authorization"].removeprefix("Bearer ")


async def _by_id(collection: Any, ids: Iterable[Any], fields: Sequence[str] | None = None) -> dict[Any, Document]:
    return {found["_id"]: found for found in await collection.find({"_id": {"$in": list(ids)}}, fields).to_list(None)}


def _shown(tweet: Document, author: Document | None, counted: Document) -> Document:
    edited_at = tweet["edited_at"]
    return {
        "id": str(tweet["_id"]),
        "text": tweet["text"],
        "author": author and {"id": author["_id"], "username": author["username"], "name": author["name"]},
        "author_deleted": author is None,
        "created_at": rfc3339(tweet["created_at"]),
        "edited_at": edited_at and rfc3339(edited_at),
        "version": tweet["version"],
        **{name: tweet[name] and str(tweet[name]) for name in ("reply_to", "repost_of", "quote_of")},
        "entities": tweet["entities"],
        "counts": {name: counted.get(name, 0) for name in ("likes", "reposts", "replies")},
        "lang": tweet["lang"],
        "source": tweet["source"],
    }


app = Starlette(
    routes=[
        Route("/v1/tweets/{tweet_id}", read_tweet),
        Route("/v1/timeline", read_timeline),
        Route("/v1/tweets", post_tweet, methods=["POST"]),
    ],
    lifespan=_lifespan,
)
