"""The collections, by PyMongo. One client for each worker, made when it is first needed, as it must not be forked."""

from functools import cache

import pymongo
from django.conf import settings

NEWEST_FIRST = [("created_at", -1), ("_id", -1)]
HIDDEN = {"edits": False, "ancestors": False, "tags": False}


@cache
def database():
    client = pymongo.MongoClient(settings.MONGODB_URL, tz_aware=True, w="majority", timeoutMS=2500)
    return client.get_default_database()


def by_id(collection, ids, fields=None):
    return {document["_id"]: document for document in database()[collection].find({"_id": {"$in": list(ids)}}, fields)}


def joined(tweets):
    """Tweets with their authors and counts, a query each."""
    authors = by_id("users_copy", {tweet["author_id"] for tweet in tweets}, ["username", "name"])
    counts = by_id("tweet_counts", [tweet["_id"] for tweet in tweets])
    return [
        {
            **tweet,
            "id": tweet["_id"],
            "author": authors.get(tweet["author_id"]),
            "author_deleted": tweet["author_id"] not in authors,
            "counts": {"likes": 0, "reposts": 0, "replies": 0, **counts.get(tweet["_id"], {})},
        }
        for tweet in tweets
    ]
