"""Documents up to MongoDB's limit reach the other store, also where the change event alone would exceed that limit."""

from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from e2e.copies import Copies
from embedded_stack import Stack
from support.polling import eventually

# MongoDB's limit, with room for the other fields.
LARGEST = 16 * 1024 * 1024 - 1000


async def test_largest_document_is_copied_and_so_is_the_change_of_all_of_it(
    running_stack: Stack,
    copies: Copies,
) -> None:
    tweets = copies.mongo.get_database("tweets").get_collection("tweets")
    identifier = ObjectId()

    async def text() -> Any:
        tweet = await copies.tweet(str(identifier))
        return tweet and tweet["text"]

    try:
        tweets.insert_one(
            {
                "_id": identifier,
                "text": "large",
                "author": {"id": "a"},
                "created_at": datetime.now(UTC),
                "version": 1,
                "padding": "a" * LARGEST,
            }
        )
        await eventually(text, lambda found: found == "large")
        # The event has the whole document, and what has changed: 32 MB.
        tweets.update_one({"_id": identifier}, {"$set": {"text": "changed", "padding": "b" * LARGEST}})
        await eventually(text, lambda found: found == "changed")
    finally:
        tweets.delete_one({"_id": identifier})
    await eventually(text, lambda found: found is None)
