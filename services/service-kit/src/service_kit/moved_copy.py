"""A copy in MongoDB that sync-service moves to another database: its state, and which of both places to read.

Needs the `mongodb` extra. sync-service writes the state, one document for each moved copy, in the database to which the
copy moves (`sync_service.sinks.mongodb.moving`):

- No state, or no `complete_at`: the old place has every change, the new one may lack some.
- `complete_at` is set: both places have every change, until the old one is dropped.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from pymongo.errors import OperationFailure

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorCollection

    Collection = AsyncIOMotorCollection[dict[str, Any]]

FoundT = TypeVar("FoundT")

log = structlog.get_logger(__name__)

STATES = "sync_moves"
# A reader that finds everything in the old place looks this rarely whether the copy has moved. It is far less than the
# time for which the old place has every change after `complete_at`.
CHECK_SECONDS = 1.0
_UNAUTHORIZED = 13


class MovedCopy:
    """Reads the old place until the state is complete, and from then on the new one.

    There is no time in which a document is found in neither place: a reader that finds too little in the old place
    looks at the state after that, and it is complete before the old place is dropped.
    """

    def __init__(self, old: "Collection", new: "Collection") -> None:
        """Both may be the same collection: then nothing moves."""
        self._old, self._new = old, new
        self._states: Collection = new.database[STATES]
        self._is_moved = old.full_name == new.full_name
        self._checked_at = -CHECK_SECONDS
        self._warned = False

    async def read(
        self, query: "Callable[[Collection], Awaitable[FoundT]]", is_whole: Callable[[FoundT], bool]
    ) -> FoundT:
        """The result of `query`. `is_whole` says whether a result has everything that was asked for.

        Raises the driver's errors.
        """
        if self._is_moved:
            return await query(self._new)
        found = await query(self._old)
        if is_whole(found) and time.monotonic() - self._checked_at < CHECK_SECONDS:
            return found
        self._is_moved = await self._is_complete()
        self._checked_at = time.monotonic()
        return await query(self._new) if self._is_moved else found

    async def _is_complete(self) -> bool:
        try:
            return await self._states.find_one({"_id": self._new.name, "complete_at": {"$ne": None}}) is not None
        except OperationFailure as error:
            if error.code != _UNAUTHORIZED or not await self._has_old_place():
                raise
            # The old place is not dropped as long as it is read.
            if not self._warned:
                log.warning(
                    "the new place of a copy can't be read, MongoDB denies it: run infra/mongo/accounts.js",
                    copy=self._new.full_name,
                    notable=True,
                )
            self._warned = True
            return False

    async def _has_old_place(self) -> bool:
        return bool(await self._old.database.list_collection_names(filter={"name": self._old.name}))
