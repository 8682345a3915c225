"""Reactions in responses."""

from service_kit.schemas import ResponseBody
from tweet_service.tweets.schemas import TweetId


class OwnReactions(ResponseBody):
    """The requested tweets that the caller likes, and those that the caller has reposted."""

    likes: list[TweetId]
    reposts: list[TweetId]
