"""The collections `tweets` and `tweet_counts`: each method is one round trip."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel, ReturnDocument

from tweet_service.gathering import GatheredInserts, Gathering, by_id
from tweet_service.tweets.models import CountsDocument, Entities, TweetDocument

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession, AsyncIOMotorCursor

    from tweet_service.database import Database

    Session = AsyncIOMotorClientSession | None

COLLECTION = "tweets"
COUNTS_COLLECTION = "tweet_counts"
LIKES_COLLECTION = "likes"
NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]
_IS_REFERENCE = {"$type": "objectId"}
INDEXES = (
    IndexModel(NEWEST_FIRST, name="newest_first"),
    IndexModel([("author_id", ASCENDING), *NEWEST_FIRST], name="by_author_newest_first"),
    IndexModel([("tags", ASCENDING), *NEWEST_FIRST], name="by_tag_newest_first"),
    IndexModel([("ancestors", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)], name="thread"),
    IndexModel(
        [("repost_of", ASCENDING), *NEWEST_FIRST], name="reposts", partialFilterExpression={"repost_of": _IS_REFERENCE}
    ),
    # Words as they are written: whose language a tweet is in, nobody says.
    IndexModel([("text", TEXT)], name="words", default_language="none", language_override="no_such_field"),
)

# A tweet that is edited without end must not outgrow a document, nor every change event.
EDITS_KEPT = 100
# A projection: all but what clients never see.
SHOWN = dict.fromkeys(("edits", "ancestors", "tags"), False)

Position = tuple[datetime, ObjectId]
Counted = Literal["likes", "reposts", "replies"]


@dataclass(frozen=True)
class Span:
    """Of time: `until` is not in it any more."""

    since: datetime | None = None
    until: datetime | None = None


ALWAYS = Span()


def reposts_of(tweet_id: ObjectId) -> dict[str, Any]:
    """What matches reposts of a tweet. The type is repeated from the partial index, or it would not be used."""
    return {"repost_of": {"$eq": tweet_id, **_IS_REFERENCE}}


class TweetRepository:
    def __init__(self, database: "Database") -> None:
        self._tweets = database[COLLECTION]
        self._counts = database[COUNTS_COLLECTION]
        self._likes = database[LIKES_COLLECTION]
        self._inserts = GatheredInserts(self._tweets)
        self._shown: Gathering[ObjectId, TweetDocument] = by_id(self._tweets, SHOWN)
        self._counted: Gathering[ObjectId, CountsDocument] = by_id(self._counts)

    async def create(self, tweet: TweetDocument, session: "Session" = None) -> None:
        if session is None:
            await self._inserts.insert(dict(tweet))
        else:
            await self._tweets.insert_one(dict(tweet), session=session)

    async def create_once(self, tweet: TweetDocument, session: "Session" = None) -> bool:
        """Store it unless there is one with its id. Was it stored?"""
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
        """As much of it as clients see."""
        return await self._shown.get(tweet_id)

    async def get_many_shown(self, tweet_ids: Collection[ObjectId]) -> dict[ObjectId, TweetDocument]:
        return await self._shown.get_many(tweet_ids)

    async def existing(self, tweet_ids: Collection[ObjectId]) -> set[ObjectId]:
        """Those of the ids that are there."""
        found = self._tweets.find({"_id": {"$in": list(tweet_ids)}}, {"_id": True})
        return {document["_id"] async for document in found}

    async def count_by(self, author_id: str) -> int:
        return await self._tweets.count_documents({"author_id": author_id})

    async def edit(
        self, tweet: TweetDocument, *, text: str, entities: Entities, tags: Sequence[str], edited_at: datetime
    ) -> TweetDocument | None:
        """Replace the text of this version of the tweet. None if it is gone or has another version by now."""
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
        """Was there one?"""
        return (await self._tweets.delete_one({"_id": tweet_id}, session=session)).deleted_count == 1

    async def delete_reactions(self, tweet_id: ObjectId) -> None:
        """Reposts and likes of a tweet that is gone."""
        await self._tweets.delete_many(reposts_of(tweet_id))
        await self._likes.delete_many({"_id.tweet_id": tweet_id})

    # --- lists, newest first

    async def newest(
        self, wanted: Mapping[str, Any], *, before: Position | None, span: Span = ALWAYS, limit: int
    ) -> list[TweetDocument]:
        """Those that match, from behind a position on."""
        found = self.newest_query(wanted, before=before, span=span, limit=limit)
        return cast("list[TweetDocument]", await found.to_list(limit))

    def newest_query(
        self, wanted: Mapping[str, Any], *, before: Position | None, span: Span = ALWAYS, limit: int
    ) -> "AsyncIOMotorCursor[dict[str, Any]]":
        """Every part of it is a range of one index."""
        query: dict[str, Any] = dict(wanted)
        moments = {name: moment for name, moment in (("$gte", span.since), ("$lt", span.until)) if moment is not None}
        if before is not None:
            moment, tweet_id = before
            # The range of the index, and what to leave out of its first millisecond.
            moments["$lte"] = moment
            query["$or"] = [{"created_at": {"$lt": moment}}, {"_id": {"$lt": tweet_id}}]
        if moments:
            query["created_at"] = moments
        return self._tweets.find(query, SHOWN).sort(NEWEST_FIRST).limit(limit)

    def descendants_query(
        self, tweet_id: ObjectId, *, after: Position | None, limit: int
    ) -> "AsyncIOMotorCursor[dict[str, Any]]":
        """Replies to a tweet and to its replies, oldest first, from behind a position on."""
        query: dict[str, Any] = {"ancestors": tweet_id}
        if after is not None:
            moment, last_id = after
            query["created_at"] = {"$gte": moment}
            query["$or"] = [{"created_at": {"$gt": moment}}, {"_id": {"$gt": last_id}}]
        oldest_first = [("created_at", ASCENDING), ("_id", ASCENDING)]
        return self._tweets.find(query, {"edits": False, "tags": False}).sort(oldest_first).limit(limit)

    def tag_counts_pipeline(self, since: datetime, limit: int) -> list[dict[str, Any]]:
        return [
            {"$match": {"created_at": {"$gte": since}}},
            {"$project": {"_id": False, "tags": True}},
            {"$unwind": "$tags"},
            {"$group": {"_id": "$tags", "tweets": {"$sum": 1}}},
            {"$sort": {"tweets": DESCENDING, "_id": ASCENDING}},
            {"$limit": limit},
        ]

    async def tag_counts(self, since: datetime, limit: int) -> list[tuple[str, int]]:
        """The hashtags used most often since then."""
        found = self._tweets.aggregate(self.tag_counts_pipeline(since, limit))
        return [(group["_id"], group["tweets"]) async for group in found]

    # --- counts

    async def count(
        self, tweet_id: ObjectId, what: Counted, by: Literal[1, -1], session: "AsyncIOMotorClientSession"
    ) -> None:
        """In the transaction that makes or takes away what is counted.

        Of a tweet that is gone nothing is counted down: its counts are gone too, and a repost may come back.
        """
        counted: dict[str, Any] = {"_id": tweet_id} if by > 0 else {"_id": tweet_id, what: {"$gt": 0}}
        await self._counts.update_one(counted, {"$inc": {what: by}}, upsert=by > 0, session=session)

    async def get_counts(self, tweet_ids: Collection[ObjectId]) -> dict[ObjectId, CountsDocument]:
        """A tweet to which nothing has happened is left out."""
        return await self._counted.get_many(tweet_ids)

    async def delete_counts(self, tweet_id: ObjectId, session: "AsyncIOMotorClientSession") -> None:
        await self._counts.delete_one({"_id": tweet_id}, session=session)
