"""The collection `rate_limits`: how much of a quota is leased in a window."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pymongo import ASCENDING, IndexModel, ReturnDocument

if TYPE_CHECKING:
    from tweet_service.database import Database

COLLECTION = "rate_limits"
INDEXES = (IndexModel([("expires_at", ASCENDING)], name="lifetime", expireAfterSeconds=0),)
_KEPT = timedelta(minutes=5)


class LeaseRepository:
    def __init__(self, database: "Database") -> None:
        self._leases = database[COLLECTION]

    async def take(self, policy: str, subject: str, window: int, size: int) -> int:
        """Lease `size` attempts. Returns how many are leased in this window, including these.

        Subjects (user ids, addresses) are stored as digests only.
        """
        digest = hashlib.sha256(f"{policy}\0{subject}\0{window}".encode()).digest()
        taken = await self._leases.find_one_and_update(
            {"_id": digest},
            {"$inc": {"leased": size}, "$setOnInsert": {"expires_at": datetime.now(UTC) + _KEPT}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(taken["leased"]) if taken else size
