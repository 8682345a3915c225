"""Reads the copy of the users: the view `users`, which may not be there yet."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from tweet_service.profiles.models import Profile

if TYPE_CHECKING:
    from tweet_service.database import Database

COLLECTION = "users"
_FIELDS = ("username", "name", "is_active", "tokens_valid_after")


class ProfileRepository:
    def __init__(self, database: "Database") -> None:
        self._users = database[COLLECTION]

    async def get_by_id(self, user_id: str) -> Profile | None:
        document = await self._users.find_one({"_id": user_id}, _FIELDS)
        return None if document is None else Profile.model_validate(document)

    async def get_by_username(self, username: str) -> Profile | None:
        document = await self._users.find_one({"username": username}, _FIELDS)
        return None if document is None else Profile.model_validate(document)

    async def get_many(self, user_ids: Iterable[str]) -> dict[str, Profile]:
        """The profiles that are there, by user id."""
        found = self._users.find({"_id": {"$in": list(user_ids)}}, _FIELDS)
        profiles = [Profile.model_validate(document) async for document in found]
        return {profile.id: profile for profile in profiles}


def profile_repository(request: Request) -> ProfileRepository:
    return ProfileRepository(request.app.state.database)


ProfileRepositoryDep = Annotated[ProfileRepository, Depends(profile_repository)]
