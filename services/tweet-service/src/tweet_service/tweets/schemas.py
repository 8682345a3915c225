"""Tweets in requests and responses."""

from typing import Annotated

from bson import ObjectId
from pydantic import BeforeValidator, Field, StringConstraints
from pydantic.config import JsonDict

from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime
from tweet_service.profiles.schemas import Author
from tweet_service.tweets.text import TweetText

TWEET_ID_PATTERN = "^[0-9a-fA-F]{24}$"
_TWEET_ID_EXAMPLE = "6924ea2f0c9d3a5b7e1f4a68"

TweetReference = Annotated[str, StringConstraints(pattern=TWEET_ID_PATTERN), Field(examples=[_TWEET_ID_EXAMPLE])]
TweetId = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, ObjectId) else value),
    Field(examples=[_TWEET_ID_EXAMPLE], json_schema_extra={"pattern": "^[0-9a-f]{24}$"}),
]


class NewTweet(RequestBody):
    text: TweetText
    reply_to: TweetReference | None = None
    quote_of: TweetReference | None = None


class TweetEdit(RequestBody):
    text: TweetText


# Documented, not validated: reading a tweet must not fail because of them.
_AT_LEAST_0: JsonDict = {"minimum": 0}
_AT_LEAST_1: JsonDict = {"minimum": 1}


class Hashtag(ResponseBody):
    """`tag` is without #; `start` and `end` count code points of the text, `end` exclusive."""

    tag: str = Field(examples=["Tandem"])
    start: int = Field(examples=[6], json_schema_extra=_AT_LEAST_0)
    end: int = Field(examples=[13], json_schema_extra=_AT_LEAST_1)


class Mention(ResponseBody):
    """`username` is as written in the text; there may be no such user."""

    username: str = Field(examples=["ada"])
    start: int = Field(examples=[14], json_schema_extra=_AT_LEAST_0)
    end: int = Field(examples=[18], json_schema_extra=_AT_LEAST_1)


class Url(ResponseBody):
    url: str = Field(examples=["https://example.org/"])
    start: int = Field(examples=[19], json_schema_extra=_AT_LEAST_0)
    end: int = Field(examples=[39], json_schema_extra=_AT_LEAST_1)


class Entities(ResponseBody):
    hashtags: list[Hashtag]
    mentions: list[Mention]
    urls: list[Url]


class Counts(ResponseBody):
    likes: int = Field(default=0, json_schema_extra=_AT_LEAST_0)
    reposts: int = Field(default=0, json_schema_extra=_AT_LEAST_0)
    replies: int = Field(default=0, json_schema_extra=_AT_LEAST_0)


class Tweet(ResponseBody):
    """A tweet. `version` starts with 1 and grows with each edit; `edited_at` is null before the first edit.

    `reply_to` and `quote_of` may refer to a deleted tweet. `author` is null if, and only if, the
    account was deleted.
    """

    id: TweetId
    text: str = Field(examples=["Hello #Tandem @ada https://example.org/"])
    author: Author | None
    author_deleted: bool = Field(description="Whether the account of the author was deleted.", examples=[False])
    created_at: UtcDatetime
    edited_at: UtcDatetime | None = Field(examples=[None])
    version: int = Field(examples=[1], json_schema_extra=_AT_LEAST_1)
    reply_to: TweetId | None = Field(examples=[None])
    repost_of: TweetId | None = Field(examples=[None])
    quote_of: TweetId | None = Field(examples=[None])
    entities: Entities
    counts: Counts
    lang: str | None = Field(examples=["en"])
    source: str | None = Field(examples=[None])
