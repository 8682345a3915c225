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
    """A previous text, and the time when it was replaced."""

    text: str
    edited_at: datetime


class TweetDocument(TypedDict):
    """A stored tweet. Times are UTC with milliseconds; `version` starts with 1 and grows with each edit.

    `author_id` is the user id of auth-service, or the id of an imported profile; names are never copied into a tweet.
    `tags` are the hashtags in the form for searches (`entities.searchable`). `ancestors` are the tweets above it in the
    thread, the nearest last, at most `MAX_ANCESTORS`, including deleted ones: the gaps of the thread. A repost has an
    empty text.
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
    """The counts of a tweet, in the collection `tweet_counts`.

    They are not part of the tweet, because a like must not cause a change event of the tweet. A tweet without reactions
    has no such document. One transaction writes the counts and what they count.
    """

    _id: ObjectId
    likes: int
    reposts: int
    replies: int
