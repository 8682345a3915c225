"""Documents of the collection `tweets`."""

from datetime import datetime
from typing import TypedDict

from bson import ObjectId

MAX_ANCESTORS = 100


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

    `author_id` is the user id of auth-service, or that of an imported profile; names are never copied into a tweet.
    `tags` are its hashtags as they are searched (`entities.searchable`). `ancestors` are the tweets it replies to,
    the nearest last and `MAX_ANCESTORS` at most, deleted ones too, which is how a thread knows its gaps.
    A repost has no text of its own.
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
    tags: list[str]
    ancestors: list[ObjectId]
    lang: str | None
    source: str | None
    edits: list[Edit]


class CountsDocument(TypedDict):
    """Of the collection `tweet_counts`: how often a tweet was liked, reposted and answered.

    Beside the tweets, not in them: a like is no change of a tweet, and makes no change event of one. There is none of
    a tweet to which nothing has happened yet. Written in one transaction with what it counts.
    """

    _id: ObjectId
    likes: int
    reposts: int
    replies: int
