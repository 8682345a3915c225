"""The public profile of a user."""

from functools import partial

from service_kit.tokens import AccessToken
from tweet_service.follows.repository import FollowRepository
from tweet_service.profiles.repository import IMPORTED_PREFIX
from tweet_service.profiles.service import ProfileService
from tweet_service.tweets.repository import TweetRepository
from tweet_service.users.counts import LargeCounts
from tweet_service.users.schemas import ProfileCounts, UserProfile


class UserService:
    def __init__(
        self, profiles: ProfileService, tweets: TweetRepository, follows: FollowRepository, counts: LargeCounts
    ) -> None:
        self._profiles = profiles
        self._counts = counts
        self._tweets = tweets
        self._follows = follows

    async def read(self, username: str, caller: AccessToken | None, client: str) -> UserProfile:
        """A profile with its counts. `client` is the network that asks. Raises `UserNotFound`."""
        profile = await self._profiles.profile_of(username, caller)
        counts = await self._counts.get(
            profile.id,
            client,
            {
                "tweets": partial(self._tweets.count_by, profile.id),
                "followers": partial(self._follows.count, "followee_id", profile.id),
                "following": partial(self._follows.count, "follower_id", profile.id),
            },
        )
        return UserProfile(
            id=profile.id,
            username=profile.username,
            name=profile.name,
            created_at=profile.created_at,
            is_imported=profile.id.startswith(IMPORTED_PREFIX),
            counts=ProfileCounts(**counts),
            is_followed=None if caller is None else await self._follows.exists(caller.sub, profile.id),
        )
