"""Reads the copy of the users, and the profiles of imported authors.

It reads the collection, not the view `users`: the view shows neither deleted users nor those that have not arrived yet.
The collection has a tombstone for a deleted user; its route keeps tombstones for ever.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pymongo import ASCENDING, IndexModel

from service_kit.moved_copy import MovedCopy
from tweet_service.batching import BatchLoader, by_id, find_by_id
from tweet_service.profiles.models import Profile, Tombstone

if TYPE_CHECKING:
    from tweet_service.batching import Documents
    from tweet_service.database import Database

Document = dict[str, Any]

COLLECTION = "users_copy"
# Authors of imported tweets, written by the import: profiles, never accounts. Their ids have a prefix.
IMPORTED_COLLECTION = "imported_profiles"
IMPORTED_PREFIX = "imported:"
IMPORTED_INDEXES = (IndexModel([("username", ASCENDING)], name="by_username"),)
_DELETED_AT = "_sync.deleted_at"
_FIELDS = ("username", "name", "is_active", "tokens_valid_after", "ended_sessions", "created_at", _DELETED_AT)


class ProfileRepository:
    def __init__(self, database: "Database", users_database: str) -> None:
        """`users_database` has the copy of the users, perhaps after a move from `database`."""
        self._users = MovedCopy(database[COLLECTION], database.client[users_database][COLLECTION])
        self._imported = database[IMPORTED_COLLECTION]
        self._accounts: BatchLoader[str, Document] = BatchLoader(self._find_accounts)
        self._imported_profiles: BatchLoader[str, Document] = by_id(self._imported)

    async def get_by_id(self, user_id: str) -> Profile | Tombstone | None:
        """None if the user has not arrived in the copy yet."""
        document = await self._accounts.get(user_id)
        return None if document is None else _profile_or_tombstone(document)

    async def get_by_username(self, username: str) -> Profile | None:
        """An account takes precedence over an imported profile."""
        document = await self._users.read(
            lambda users: users.find_one({"username": username, _DELETED_AT: None}, _FIELDS),
            is_whole=lambda found: found is not None,
        )
        if document is None:
            document = await self._imported.find_one({"username": username})
        return None if document is None else Profile.model_validate(document)

    async def _find_accounts(self, user_ids: Collection[str]) -> Mapping[str, Document]:
        async def find(users: "Documents") -> dict[str, Document]:
            return await find_by_id(users, user_ids, _FIELDS)

        return await self._users.read(find, is_whole=lambda found: len(found) == len(user_ids))

    async def get_many(self, user_ids: Collection[str]) -> dict[str, Profile | Tombstone]:
        """By user id, without users that have not arrived in the copy yet."""
        imported = [user_id for user_id in user_ids if str(user_id).startswith(IMPORTED_PREFIX)]
        found = await self._accounts.get_many(set(user_ids).difference(imported))
        if imported:
            found |= await self._imported_profiles.get_many(imported)
        return {user_id: _profile_or_tombstone(document) for user_id, document in found.items()}


def _profile_or_tombstone(document: Mapping[str, Any]) -> Profile | Tombstone:
    deleted = document.get("_sync", {}).get("deleted_at") is not None
    return Tombstone.model_validate(document) if deleted else Profile.model_validate(document)
