"""The collection `tweets`: each method is one round trip."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

from bson import ObjectId
from fastapi import Depends, Request
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument

from tweet_service.tweets.models import Entities, TweetDocument

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCursor

    from tweet_service.database import Database

COLLECTION = "tweets"
NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]
INDEXES = (
    IndexModel(NEWEST_FIRST, name="newest_first"),
    IndexModel([("author_id", ASCENDING), *NEWEST_FIRST], name="by_author_newest_first"),
    IndexModel(
        [("reply_to", ASCENDING)],
        name="replies",
        partialFilterExpression={"reply_to": {"$type": "objectId"}},
    ),
)

# A tweet that is edited without end must not outgrow a document, nor every change event.
EDITS_KEPT = 100

Position = tuple[datetime, ObjectId]


class TweetRepository:
    def __init__(self, database: "Database") -> None:
        self._tweets = database[COLLECTION]

    async def create(self, tweet: TweetDocument) -> None:
        await self._tweets.insert_one(dict(tweet))

    async def get_by_id(self, tweet_id: ObjectId) -> TweetDocument | None:
        return cast("TweetDocument | None", await self._tweets.find_one({"_id": tweet_id}))

    async def existing(self, tweet_ids: Collection[ObjectId]) -> set[ObjectId]:
        """Those of the ids that are there."""
        found = self._tweets.find({"_id": {"$in": list(tweet_ids)}}, {"_id": True})
        return {document["_id"] async for document in found}

    async def edit(
        self, tweet: TweetDocument, *, text: str, entities: Entities, edited_at: datetime
    ) -> TweetDocument | None:
        """Replace the text of this version of the tweet. None if it is gone or has another version by now."""
        former = {"text": tweet["text"], "edited_at": edited_at}
        edited = await self._tweets.find_one_and_update(
            {"_id": tweet["_id"], "version": tweet["version"]},
            {
                "$set": {"text": text, "entities": entities, "edited_at": edited_at},
                "$inc": {"version": 1},
                "$push": {"edits": {"$each": [former], "$slice": -EDITS_KEPT}},
            },
            return_document=ReturnDocument.AFTER,
        )
        return cast("TweetDocument | None", edited)

    async def delete(self, tweet_id: ObjectId, *, author_id: str | None) -> bool:
        """Delete the tweet, if it is this author's (None: whoever's it is). Was there one?"""
        only = {"_id": tweet_id} if author_id is None else {"_id": tweet_id, "author_id": author_id}
        return (await self._tweets.delete_one(only)).deleted_count == 1

    async def newest(self, *, author_id: str | None, before: Position | None, limit: int) -> list[TweetDocument]:
        """Newest first, from behind a position on."""
        documents = await self.newest_query(author_id=author_id, before=before, limit=limit).to_list(limit)
        return cast("list[TweetDocument]", documents)

    def newest_query(
        self, *, author_id: str | None, before: Position | None, limit: int
    ) -> "AsyncIOMotorCursor[dict[str, Any]]":
        """The query behind `newest`; every part of it is a range of one index."""
        wanted: dict[str, Any] = {}
        if author_id is not None:
            wanted["author_id"] = author_id
        if before is not None:
            moment, tweet_id = before
            # The range of the index, and what to leave out of its first millisecond.
            wanted["created_at"] = {"$lte": moment}
            wanted["$or"] = [{"created_at": {"$lt": moment}}, {"_id": {"$lt": tweet_id}}]
        return self._tweets.find(wanted, {"edits": False}).sort(NEWEST_FIRST).limit(limit)

    async def count_replies(self, tweet_ids: Collection[ObjectId]) -> Mapping[ObjectId, int]:
        """How many replies each tweet has; one without any is left out."""
        counted = self._tweets.aggregate(
            [
                # The type is repeated from the partial index, or it would not be used.
                {"$match": {"reply_to": {"$in": list(tweet_ids), "$type": "objectId"}}},
                {"$group": {"_id": "$reply_to", "replies": {"$sum": 1}}},
            ]
        )
        return {group["_id"]: group["replies"] async for group in counted}


async def tweet_repository(request: Request) -> TweetRepository:
    return TweetRepository(request.app.state.database)


TweetRepositoryDep = Annotated[TweetRepository, Depends(tweet_repository)]
