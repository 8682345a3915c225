"""Documents of the collection `tweets`."""

from datetime import datetime
from typing import TypedDict

from bson import ObjectId


class Hashtag(TypedDict):
    tag: str
    start: int
    end: int


class Mention(TypedDict):
    username: str
    start: int
    end: int


class Url(TypedDict):
    url: str
    start: int
    end: int


class Entities(TypedDict):
    hashtags: list[Hashtag]
    mentions: list[Mention]
    urls: list[Url]


class Edit(TypedDict):
    """A former text, and when it was replaced."""

    text: str
    edited_at: datetime


class TweetDocument(TypedDict):
    """A stored tweet. Times are UTC, to the millisecond; `version` counts from 1 and grows with each edit.

    `author_id` is the user id of auth-service; names are never copied into a tweet.
    """

    _id: ObjectId
    text: str
    author_id: str
    created_at: datetime
    edited_at: datetime | None
    version: int
    reply_to: ObjectId | None
    repost_of: ObjectId | None
    quote_of: ObjectId | None
    entities: Entities
    lang: str | None
    source: str | None
    edits: list[Edit]
