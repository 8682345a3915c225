"""Wire shapes of reactions."""

from service_kit.schemas import ResponseBody
from tweet_service.tweets.schemas import TweetId


class OwnReactions(ResponseBody):
    """Which of some tweets somebody likes, and which he has reposted."""

    likes: list[TweetId]
    reposts: list[TweetId]
