"""Accounts from this service's own copy in MongoDB: their tokens can be revoked before they expire."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from service_kit.authentication import accepts_token
from service_kit.moved_copy import MovedCopy
from service_kit.tokens import AccessToken

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

# The copy of the built-in route `users`. Without that route it is empty, and tokens are valid until they expire.
COLLECTION = "users_copy"
_FIELDS = ("is_active", "tokens_valid_after", "ended_sessions", "_sync.deleted_at")


@dataclass(frozen=True, slots=True)
class CopiedAccount:
    is_active: bool
    tokens_valid_after: datetime | None
    ended_sessions: str | None
    is_deleted: bool

    def accepts(self, token: AccessToken) -> bool:
        return not self.is_deleted and accepts_token(
            token,
            is_active=self.is_active,
            tokens_valid_after=self.tokens_valid_after,
            ended_sessions=self.ended_sessions,
        )


class CopiedAccounts:
    def __init__(
        self, database: "AsyncIOMotorDatabase[dict[str, Any]]", users_database: Callable[[], str | None]
    ) -> None:
        """`users_database` returns the name of the database that has the copy at present, perhaps after a move from
        `database`; None for `database` itself.

        `database` must return aware datetimes.
        """
        self._database = database
        self._users_database = users_database
        self._copies: dict[str | None, MovedCopy] = {}

    @property
    def _users(self) -> MovedCopy:
        name = self._users_database()
        if name not in self._copies:
            new = self._database if name is None else self._database.client[name]
            self._copies[name] = MovedCopy(self._database[COLLECTION], new[COLLECTION])
        return self._copies[name]

    async def get_by_id(self, user_id: str) -> CopiedAccount | None:
        """None if the account is not in the copy yet. Raises the driver's errors."""
        found = await self._users.read(
            lambda users: users.find_one({"_id": user_id}, _FIELDS), is_whole=lambda found: found is not None
        )
        if found is None:
            return None
        return CopiedAccount(
            is_active=found.get("is_active", True),
            tokens_valid_after=found.get("tokens_valid_after"),
            ended_sessions=found.get("ended_sessions"),
            is_deleted=found.get("_sync", {}).get("deleted_at") is not None,
        )
