"""The progress of an import: documents of the collection `imports`."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self, TypedDict

from bson import Binary


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of records: `inserted + updated + skipped + rejected` is their number.

    `originals` are additional tweets that were inserted because a record reposts or quotes them.
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
    """The import of a file (`_id` is the SHA-256 of its content).

    `run` identifies the process, `session` its MongoDB session; `done` is the number of finished records,
    `rejects_bytes` the length of the file of rejects for these. The transaction of each batch updates it.
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
