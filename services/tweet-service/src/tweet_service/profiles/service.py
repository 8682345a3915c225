"""Authors of tweets, also before they have arrived in the copy of the users, and after they were deleted."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from bson import ObjectId

from service_kit.schemas import Page
from service_kit.tokens import AccessToken
from tweet_service.pagination import cursor_after
from tweet_service.profiles.models import Profile, Tombstone
from tweet_service.profiles.problems import UserNotFound
from tweet_service.profiles.repository import ProfileRepository
from tweet_service.profiles.schemas import Author

# Reads of one page. Between these many users there may be deleted ones, which are not shown.
MAX_READS = 10

PositionT = TypeVar("PositionT", tuple[datetime, str], tuple[datetime, ObjectId])
DocumentT = TypeVar("DocumentT")


class ProfileService:
    def __init__(self, profiles: ProfileRepository) -> None:
        self._profiles = profiles

    async def authors(self, user_ids: Iterable[str], caller: AccessToken | None) -> dict[str, Author | None]:
        """An author for each id; None for a deleted one.

        Until the caller has arrived in the copy, the names come from the caller's token.
        """
        wanted = set(user_ids)
        known = await self._profiles.get_many(wanted)
        authors: dict[str, Author | None] = {}
        for user_id in wanted:
            if user_id in known:
                profile = known[user_id]
                authors[user_id] = None if isinstance(profile, Tombstone) else _author(profile)
            elif caller is not None and caller.sub == user_id:
                authors[user_id] = Author(id=user_id, username=caller.username, name=caller.name)
            else:
                authors[user_id] = Author(id=user_id, username=None, name=None)
        return authors

    async def page_of_authors(
        self,
        read: Callable[[PositionT | None, int], Awaitable[Sequence[DocumentT]]],
        listed: Callable[[DocumentT], tuple[str, PositionT]],
        *,
        before: PositionT | None,
        limit: int,
        caller: AccessToken | None,
    ) -> Page[Author]:
        """A page without deleted users. It is full as long as there are others, within `MAX_READS`.

        `read` returns so many documents after a position, `listed` the user id and the position of one.
        """
        items: list[Author] = []
        for _ in range(MAX_READS):
            found = [listed(document) for document in await read(before, limit + 1)]
            authors = await self.authors((user_id for user_id, _ in found), caller)
            for user_id, position in found:
                if len(items) == limit:
                    return Page(items=items, next_cursor=_cursor_after(before))
                before = position
                if author := authors[user_id]:
                    items.append(author)
            if len(found) <= limit:
                return Page(items=items, next_cursor=None)
        return Page(items=items, next_cursor=_cursor_after(before))

    async def id_of(self, username: str, caller: AccessToken | None) -> str | None:
        """The id of the user with this username, by the same rule."""
        profile = await self._profiles.get_by_username(username)
        if profile is not None:
            return profile.id
        if caller is not None and caller.username == username:
            return caller.sub
        return None

    async def require_id_of(self, username: str, caller: AccessToken | None) -> str:
        """Raises `UserNotFound`."""
        user_id = await self.id_of(username, caller)
        if user_id is None:
            raise UserNotFound
        return user_id

    async def profile_of(self, username: str, caller: AccessToken | None) -> Profile:
        """The profile of the user with this username, by the same rule. Raises `UserNotFound`."""
        profile = await self._profiles.get_by_username(username)
        if profile is None and caller is not None and caller.username == username:
            profile = Profile.model_validate({"_id": caller.sub, "username": username, "name": caller.name})
        if profile is None:
            raise UserNotFound
        return profile


def _cursor_after(position: tuple[datetime, str | ObjectId] | None) -> str | None:
    return None if position is None else cursor_after(position[0], str(position[1]))


def _author(profile: Profile) -> Author:
    return Author(id=profile.id, username=profile.username, name=profile.name)
