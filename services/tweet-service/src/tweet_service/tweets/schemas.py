"""Wire shapes of tweets."""

from typing import Annotated

from bson import ObjectId
from pydantic import BeforeValidator, Field, StringConstraints

from service_kit.wire import RequestBody, ResponseBody, UtcDatetime
from tweet_service.profiles.schemas import Author
from tweet_service.tweets.text import TweetText

TWEET_ID_PATTERN = "^[0-9a-fA-F]{24}$"
_TWEET_ID_EXAMPLE = "6924ea2f0c9d3a5b7e1f4a68"

TweetReference = Annotated[str, StringConstraints(pattern=TWEET_ID_PATTERN), Field(examples=[_TWEET_ID_EXAMPLE])]
TweetId = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, ObjectId) else value),
    Field(examples=[_TWEET_ID_EXAMPLE]),
]


class NewTweet(RequestBody):
    text: TweetText
    reply_to: TweetReference | None = None
    quote_of: TweetReference | None = None


class TweetEdit(RequestBody):
    text: TweetText


class Hashtag(ResponseBody):
    """`tag` is without its sign; `start` and `end` count code points of the text, `end` exclusive."""

    tag: str
    start: int
    end: int


class Mention(ResponseBody):
    """`username` is as written; nobody may have that name."""

    username: str
    start: int
    end: int


class Url(ResponseBody):
    url: str
    start: int
    end: int


class Entities(ResponseBody):
    hashtags: list[Hashtag]
    mentions: list[Mention]
    urls: list[Url]


class Counts(ResponseBody):
    likes: int = 0
    reposts: int = 0
    replies: int = 0


class Tweet(ResponseBody):
    """A tweet. `version` counts from 1 and grows with each edit; `edited_at` is null before the first.

    `reply_to` and `quote_of` may name a tweet that has been deleted since. `author` is null if, and only if, the
    account was deleted.
    """

    id: TweetId
    text: str
    author: Author | None
    author_deleted: bool = Field(description="Was the author's account deleted?", examples=[False])
    created_at: UtcDatetime
    edited_at: UtcDatetime | None
    version: int
    reply_to: TweetId | None
    repost_of: TweetId | None
    quote_of: TweetId | None
    entities: Entities
    counts: Counts
    lang: str | None
    source: str | None
