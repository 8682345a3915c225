"""Reads the copy of the users, which may not be there yet.

The collection rather than the view `users`: the view shows nothing of a deleted user, nor of one whose copy has not
arrived. The collection has a tombstone of the one and nothing of the other, and the route keeps tombstones for ever.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from tweet_service.profiles.models import Profile, Tombstone

if TYPE_CHECKING:
    from tweet_service.database import Database

COLLECTION = "users_copy"
_DELETED_AT = "_sync.deleted_at"
_FIELDS = ("username", "name", "is_active", "tokens_valid_after", _DELETED_AT)


class ProfileRepository:
    def __init__(self, database: "Database") -> None:
        self._users = database[COLLECTION]

    async def get_by_id(self, user_id: str) -> Profile | Tombstone | None:
        """None: the copy has not arrived."""
        document = await self._users.find_one({"_id": user_id}, _FIELDS)
        return None if document is None else _known(document)

    async def get_by_username(self, username: str) -> Profile | None:
        document = await self._users.find_one({"username": username, _DELETED_AT: None}, _FIELDS)
        return None if document is None else Profile.model_validate(document)

    async def get_many(self, user_ids: Iterable[str]) -> dict[str, Profile | Tombstone]:
        """What there is, by user id; an id whose copy has not arrived is left out."""
        found = self._users.find({"_id": {"$in": list(user_ids)}}, _FIELDS)
        return {document["_id"]: _known(document) async for document in found}


def _known(document: dict[str, Any]) -> Profile | Tombstone:
    deleted = document.get("_sync", {}).get("deleted_at") is not None
    return Tombstone.model_validate(document) if deleted else Profile.model_validate(document)


async def profile_repository(request: Request) -> ProfileRepository:
    return ProfileRepository(request.app.state.database)


ProfileRepositoryDep = Annotated[ProfileRepository, Depends(profile_repository)]
