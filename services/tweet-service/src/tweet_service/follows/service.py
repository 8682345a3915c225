"""Rules of follows."""

from collections.abc import Sequence
from datetime import datetime

from service_kit.schemas import Page
from service_kit.tokens import AccessToken
from tweet_service.follows.problems import CannotFollowSelf
from tweet_service.follows.repository import Follow, FollowRepository, Side
from tweet_service.profiles.schemas import Author
from tweet_service.profiles.service import ProfileService
from tweet_service.times import now_in_milliseconds


class FollowService:
    def __init__(self, follows: FollowRepository, profiles: ProfileService) -> None:
        self._follows = follows
        self._profiles = profiles

    async def follow(self, username: str, caller: AccessToken) -> None:
        """Raises `UserNotFound`, `CannotFollowSelf`."""
        followee_id = await self._profiles.require_id_of(username, caller)
        if followee_id == caller.sub:
            raise CannotFollowSelf
        await self._follows.create(caller.sub, followee_id, now_in_milliseconds())

    async def unfollow(self, username: str, caller: AccessToken) -> None:
        """Raises `UserNotFound`."""
        await self._follows.delete(caller.sub, await self._profiles.require_id_of(username, caller))

    async def followers(
        self, username: str, *, before: tuple[datetime, str] | None, limit: int, caller: AccessToken | None
    ) -> Page[Author]:
        """Newest first, without deleted users. Raises `UserNotFound`."""
        return await self._list("followee_id", "follower_id", username, before=before, limit=limit, caller=caller)

    async def following(
        self, username: str, *, before: tuple[datetime, str] | None, limit: int, caller: AccessToken | None
    ) -> Page[Author]:
        """Newest first, without deleted users. Raises `UserNotFound`."""
        return await self._list("follower_id", "followee_id", username, before=before, limit=limit, caller=caller)

    async def _list(
        self,
        side: Side,
        other: Side,
        username: str,
        *,
        before: tuple[datetime, str] | None,
        limit: int,
        caller: AccessToken | None,
    ) -> Page[Author]:
        user_id = await self._profiles.require_id_of(username, caller)

        async def read(after: tuple[datetime, str] | None, most: int) -> Sequence[Follow]:
            return await self._follows.newest_query(side, user_id, after, most).to_list(most)

        def listed(follow: Follow) -> tuple[str, tuple[datetime, str]]:
            return follow["_id"][other], (follow["created_at"], follow["_id"][other])

        return await self._profiles.page_of_authors(read, listed, before=before, limit=limit, caller=caller)
