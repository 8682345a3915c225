"""Rules of follows."""

from datetime import datetime

from service_kit.pagination import split_page
from service_kit.schemas import Page
from service_kit.tokens import AccessToken
from tweet_service.follows.problems import CannotFollowSelf
from tweet_service.follows.repository import FollowRepository, Side
from tweet_service.pagination import cursor_after
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
        found = await self._follows.newest_query(side, user_id, before, limit + 1).to_list(limit + 1)
        shown, has_more = split_page(found, limit)
        next_cursor = cursor_after(shown[-1]["created_at"], shown[-1]["_id"][other]) if has_more else None
        ids = [follow["_id"][other] for follow in shown]
        return Page(items=await self._profiles.existing_authors(ids, caller), next_cursor=next_cursor)
