"""How far an import is: documents of the collection `imports`."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self, TypedDict

from bson import Binary


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the records: `inserted + updated + skipped + rejected` of them.

    `originals` are tweets that were inserted besides, because another one reposts or quotes them.
    """

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    originals: int = 0

    @property
    def records(self) -> int:
        return self.inserted + self.updated + self.skipped + self.rejected

    def __add__(self, other: Self) -> "Tally":
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def as_document(self) -> dict[str, int]:
        return asdict(self)


class ImportDocument(TypedDict):
    """An import of a file with this content (`_id` is its SHA-256), and how far it is.

    `run` is the process that does it, in the `session` of MongoDB's; `done` is the number of records behind it,
    `rejects_bytes` the length of the file of rejects that belongs to them. Written in the transaction of each batch.
    """

    _id: str
    file: str
    run: str
    session: Binary
    done: int
    tally: dict[str, Any]
    rejects_bytes: int
    started_at: datetime
    finished_at: datetime | None
