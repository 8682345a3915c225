"""The collections `tweets` and `tweet_counts`. Each method is one round trip, unless it says otherwise."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from bson import MinKey, ObjectId
from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel, ReturnDocument

from tweet_service.batching import BatchInserter, BatchLoader, by_id
from tweet_service.pagination import Position
from tweet_service.tweets.models import CountsDocument, Entities, TweetDocument

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession, AsyncIOMotorCursor

    from tweet_service.database import Database

    Session = AsyncIOMotorClientSession | None

COLLECTION = "tweets"
COUNTS_COLLECTION = "tweet_counts"
NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]
_BY_AUTHOR = "by_author_newest_first"
_IS_REFERENCE = {"$type": "objectId"}
_IS_TAG = {"$type": "string"}
INDEXES = (
    IndexModel(NEWEST_FIRST, name="newest_first"),
    IndexModel([("author_id", ASCENDING), *NEWEST_FIRST], name=_BY_AUTHOR),
    IndexModel([("tags", ASCENDING), *NEWEST_FIRST], name="by_tag_newest_first"),
    # Otherwise a list by both would read all tweets of the author, or all with the hashtag.
    IndexModel(
        [("author_id", ASCENDING), ("tags", ASCENDING), *NEWEST_FIRST],
        name="by_author_and_tag_newest_first",
        partialFilterExpression={"tags": _IS_TAG},
    ),
    IndexModel([("ancestors", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)], name="thread"),
    IndexModel(
        [("repost_of", ASCENDING), *NEWEST_FIRST], name="reposts", partialFilterExpression={"repost_of": _IS_REFERENCE}
    ),
    # No stemming: the language of a tweet is not reliably known.
    IndexModel([("text", TEXT)], name="words", default_language="none", language_override="no_such_field"),
)

# Limits the size of the document, and of its change events.
EDITS_KEPT = 100
# Of one query. MongoDB merges at most 200 ranges of an index in their order (`internalQueryMaxScansToExplode`); of more
# authors it reads all tweets, and sorts them.
MAX_AUTHORS = 200
# Limits the cost of trends.
MAX_TWEETS_OF_TRENDS = 50_000
# A projection: all fields that clients see.
SHOWN = dict.fromkeys(("edits", "ancestors", "tags"), False)

Counted = Literal["likes", "reposts", "replies"]


@dataclass(frozen=True)
class Span:
    """A span of time, without `until` itself."""

    since: datetime | None = None
    until: datetime | None = None


ALWAYS = Span()


def reposts_of(tweet_id: ObjectId) -> dict[str, Any]:
    """A filter for reposts of a tweet. MongoDB uses the partial index only if the filter repeats its type."""
    return {"repost_of": {"$eq": tweet_id, **_IS_REFERENCE}}


def tagged(tag: str) -> dict[str, Any]:
    """A filter for tweets with a hashtag, as in `searched`; it repeats the type for the same reason."""
    return {"tags": {"$eq": tag, **_IS_TAG}}


def _key_after(position: Position) -> list[tuple[str, Any]]:
    """The first key after a position in the index `newest_first`, whose order is descending."""
    time, tweet_id = position
    number = int(str(tweet_id), 16)
    return [("created_at", time), ("_id", ObjectId(f"{number - 1:024x}") if number else MinKey())]


class TweetRepository:
    def __init__(self, database: "Database") -> None:
        self._tweets = database[COLLECTION]
        self._counts = database[COUNTS_COLLECTION]
        self._inserts = BatchInserter(self._tweets)
        self._shown: BatchLoader[ObjectId, TweetDocument] = by_id(self._tweets, SHOWN)
        self._counted: BatchLoader[ObjectId, CountsDocument] = by_id(self._counts)

    async def create(self, tweet: TweetDocument, session: "Session" = None) -> None:
        if session is None:
            await self._inserts.insert(dict(tweet))
        else:
            await self._tweets.insert_one(dict(tweet), session=session)

    async def create_once(self, tweet: TweetDocument, session: "Session" = None) -> bool:
        """Insert the tweet unless its id exists. Returns whether it was inserted."""
        stored = await self._tweets.update_one(
            {"_id": tweet["_id"]},
            {"$setOnInsert": {name: value for name, value in tweet.items() if name != "_id"}},
            upsert=True,
            session=session,
        )
        return stored.upserted_id is not None

    async def get_by_id(self, tweet_id: ObjectId, session: "Session" = None) -> TweetDocument | None:
        return cast("TweetDocument | None", await self._tweets.find_one({"_id": tweet_id}, session=session))

    async def get_shown(self, tweet_id: ObjectId) -> TweetDocument | None:
        """The fields that clients see."""
        return await self._shown.get(tweet_id)

    async def get_many_shown(self, tweet_ids: Collection[ObjectId]) -> dict[ObjectId, TweetDocument]:
        return await self._shown.get_many(tweet_ids)

    async def existing(self, tweet_ids: Collection[ObjectId]) -> set[ObjectId]:
        """The ids that exist."""
        found = self._tweets.find({"_id": {"$in": list(tweet_ids)}}, {"_id": True})
        return {document["_id"] async for document in found}

    async def count_by(self, author_id: str, limit: int | None = None) -> int:
        """At most `limit`. Only an index is read."""
        most = {} if limit is None else {"limit": limit}
        return await self._tweets.count_documents({"author_id": author_id}, None, None, **most)

    async def edit(
        self, tweet: TweetDocument, *, text: str, entities: Entities, tags: Sequence[str], edited_at: datetime
    ) -> TweetDocument | None:
        """Replace the text of this version. None if the tweet was deleted or has another version now."""
        former = {"text": tweet["text"], "edited_at": edited_at}
        edited = await self._tweets.find_one_and_update(
            {"_id": tweet["_id"], "version": tweet["version"]},
            {
                "$set": {"text": text, "entities": entities, "tags": tags, "edited_at": edited_at},
                "$inc": {"version": 1},
                "$push": {"edits": {"$each": [former], "$slice": -EDITS_KEPT}},
            },
            return_document=ReturnDocument.AFTER,
        )
        return cast("TweetDocument | None", edited)

    async def delete(self, tweet_id: ObjectId, session: "Session" = None) -> bool:
        """Returns whether the tweet existed."""
        return (await self._tweets.delete_one({"_id": tweet_id}, session=session)).deleted_count == 1

    async def delete_reposts_of(self, tweet_id: ObjectId) -> None:
        await self._tweets.delete_many(reposts_of(tweet_id))

    # --- lists, newest first

    async def newest(
        self, wanted: Mapping[str, Any], *, before: Position | None, span: Span = ALWAYS, limit: int
    ) -> list[TweetDocument]:
        """Tweets that match, after a position."""
        found = self.newest_query(wanted, before=before, span=span, limit=limit)
        return cast("list[TweetDocument]", await found.to_list(limit))

    async def newest_of_authors(
        self, author_ids: Sequence[str], *, before: Position | None, limit: int
    ) -> list[TweetDocument]:
        """Tweets of any of the authors, after a position: a round trip for each `MAX_AUTHORS`.

        MongoDB might else search for authors who post rarely among the tweets of all.
        """
        newest: list[TweetDocument] = []
        span = ALWAYS
        for start in range(0, len(author_ids), MAX_AUTHORS):
            wanted = {"author_id": {"$in": list(author_ids[start : start + MAX_AUTHORS])}}
            found = self.newest_query(wanted, before=before, span=span, limit=limit).hint(_BY_AUTHOR)
            newest += cast("list[TweetDocument]", await found.to_list(limit))
            newest.sort(key=lambda tweet: (tweet["created_at"], tweet["_id"]), reverse=True)
            del newest[limit:]
            if len(newest) == limit:
                # Older tweets of the other authors are not on the page.
                span = Span(since=newest[-1]["created_at"])
        return newest

    async def walk(
        self, filters: Sequence[Mapping[str, Any]], *, before: Position | None, end: Position | None, limit: int
    ) -> list[TweetDocument]:
        """Tweets that match, after the position `before`, to the position `end` inclusive. All between are read."""
        found = self._after(before, {"$and": list(filters)}, SHOWN).limit(limit)
        if end is not None:
            found = found.max(_key_after(end))
        return cast("list[TweetDocument]", await found.to_list(limit))

    async def position_after(self, before: Position | None, tweets: int) -> Position | None:
        """The position of the last of so many tweets after a position. None if there are not that many.

        Only the index is read.
        """
        found = self._after(before, {}, {"created_at": True}).skip(tweets - 1).limit(1)
        async for tweet in found:
            return tweet["created_at"], tweet["_id"]
        return None

    def _after(
        self, before: Position | None, wanted: Mapping[str, Any], projection: Mapping[str, bool]
    ) -> "AsyncIOMotorCursor[dict[str, Any]]":
        """Tweets after a position, newest first, from one index: also of equal times none before it is read."""
        found = self._tweets.find(wanted, projection).sort(NEWEST_FIRST).hint(NEWEST_FIRST)
        return found if before is None else found.min(_key_after(before))

    def newest_query(
        self, wanted: Mapping[str, Any], *, before: Position | None, span: Span = ALWAYS, limit: int
    ) -> "AsyncIOMotorCursor[dict[str, Any]]":
        """A query for which every part is a range of one index."""
        query: dict[str, Any] = dict(wanted)
        times = {name: time for name, time in (("$gte", span.since), ("$lt", span.until)) if time is not None}
        if before is not None:
            time, tweet_id = before
            # `$lte` is the range of the index; `$or` excludes tweets of the same millisecond from the previous page.
            times["$lte"] = time
            query["$or"] = [{"created_at": {"$lt": time}}, {"_id": {"$lt": tweet_id}}]
        if times:
            query["created_at"] = times
        return self._tweets.find(query, SHOWN).sort(NEWEST_FIRST).limit(limit)

    async def count_with_word(self, search: Mapping[str, str], limit: int) -> int:
        """The number of tweets of a text search, at most `limit`. No more of them are read."""
        return await self._tweets.count_documents({"$text": search}, limit=limit)

    def descendants_query(
        self, tweet_id: ObjectId, *, after: Position | None, limit: int
    ) -> "AsyncIOMotorCursor[dict[str, Any]]":
        """Replies to a tweet and to its replies, oldest first, after a position."""
        query: dict[str, Any] = {"ancestors": tweet_id}
        if after is not None:
            time, last_id = after
            query["created_at"] = {"$gte": time}
            query["$or"] = [{"created_at": {"$gt": time}}, {"_id": {"$gt": last_id}}]
        oldest_first = [("created_at", ASCENDING), ("_id", ASCENDING)]
        return self._tweets.find(query, {"edits": False, "tags": False}).sort(oldest_first).limit(limit)

    def tag_counts_pipeline(self, since: datetime, limit: int) -> list[dict[str, Any]]:
        return [
            {"$match": {"created_at": {"$gte": since}}},
            {"$sort": dict(NEWEST_FIRST)},
            {"$limit": MAX_TWEETS_OF_TRENDS},
            {"$project": {"_id": False, "tags": True}},
            {"$unwind": "$tags"},
            {"$group": {"_id": "$tags", "tweets": {"$sum": 1}}},
            {"$sort": {"tweets": DESCENDING, "_id": ASCENDING}},
            {"$limit": limit},
        ]

    async def tag_counts(self, since: datetime, limit: int) -> list[tuple[str, int]]:
        """The most used hashtags since a time, with the number of tweets among the newest `MAX_TWEETS_OF_TRENDS`."""
        found = self._tweets.aggregate(self.tag_counts_pipeline(since, limit))
        return [(group["_id"], group["tweets"]) async for group in found]

    # --- counts

    async def count(
        self, tweet_id: ObjectId, what: Counted, by: Literal[1, -1], session: "AsyncIOMotorClientSession"
    ) -> None:
        """Change a count in the transaction that creates or deletes what is counted.

        The counts of a deleted tweet are deleted, too, and do not become negative.
        """
        counted: dict[str, Any] = {"_id": tweet_id} if by > 0 else {"_id": tweet_id, what: {"$gt": 0}}
        await self._counts.update_one(counted, {"$inc": {what: by}}, upsert=by > 0, session=session)

    async def get_counts(self, tweet_ids: Collection[ObjectId]) -> dict[ObjectId, CountsDocument]:
        """By tweet id, without tweets that have no counts yet."""
        return await self._counted.get_many(tweet_ids)

    async def delete_counts(self, tweet_id: ObjectId, session: "AsyncIOMotorClientSession") -> None:
        await self._counts.delete_one({"_id": tweet_id}, session=session)
