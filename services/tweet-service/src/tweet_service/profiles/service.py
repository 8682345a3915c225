"""Authors of tweets, also before they have arrived in the copy of the users, and after they were deleted."""

from collections.abc import Iterable, Sequence

from service_kit.tokens import AccessToken
from tweet_service.profiles.models import Profile, Tombstone
from tweet_service.profiles.problems import UserNotFound
from tweet_service.profiles.repository import ProfileRepository
from tweet_service.profiles.schemas import Author


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

    async def existing_authors(self, user_ids: Sequence[str], caller: AccessToken | None) -> list[Author]:
        """The authors in the order of the ids, without deleted ones."""
        authors = await self.authors(user_ids, caller)
        return [author for user_id in user_ids if (author := authors[user_id])]

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


def _author(profile: Profile) -> Author:
    return Author(id=profile.id, username=profile.username, name=profile.name)
