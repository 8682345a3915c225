"""Wire shapes of timelines."""

from pydantic import Field

from service_kit.schemas import ResponseBody
from tweet_service.tweets.schemas import Tweet, TweetId


class ThreadTweet(ResponseBody):
    """A place in a conversation. `tweet` is null where one was deleted: a gap."""

    id: TweetId
    reply_to: TweetId | None = Field(description="Null at the beginning, and where nobody knows any more.")
    tweet: Tweet | None


class Thread(ResponseBody):
    """`ancestors` from the beginning to the tweet that this one answers; `descendants` oldest first, parents before
    their replies."""

    tweet: Tweet
    ancestors: list[ThreadTweet]
    descendants: list[ThreadTweet]
    next_cursor: str | None = Field(description="Of more descendants.", examples=[None])


class Trend(ResponseBody):
    hashtag: str = Field(examples=["tandem"])
    tweets: int = Field(description="Tweets with it within the window.", examples=[42])


class Trends(ResponseBody):
    window_seconds: int = Field(examples=[86400])
    items: list[Trend]
