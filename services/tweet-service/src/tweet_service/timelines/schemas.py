"""Threads and trends in responses."""

from pydantic import Field

from service_kit.schemas import ResponseBody
from tweet_service.tweets.schemas import Tweet, TweetId


class ThreadTweet(ResponseBody):
    """A place in a thread. `tweet` is null if it was deleted (a gap)."""

    id: TweetId
    reply_to: TweetId | None = Field(description="Null for the first tweet, and if it is unknown.")
    tweet: Tweet | None


class Thread(ResponseBody):
    """`ancestors` start with the first tweet of the thread; `descendants` are sorted oldest first, parents before
    replies."""

    tweet: Tweet
    ancestors: list[ThreadTweet]
    descendants: list[ThreadTweet]
    next_cursor: str | None = Field(description="Cursor of further descendants.", examples=[None])


class Trend(ResponseBody):
    hashtag: str = Field(examples=["tandem"])
    tweets: int = Field(description="Tweets with the hashtag in the window.", examples=[42])


class Trends(ResponseBody):
    window_seconds: int = Field(examples=[86400])
    items: list[Trend]
