"""Gaps: changes of a source that its copy has not got. The copy is in doubt until it is compared.

Events were deleted before they were read, or the source changed without events (`source_watch`). MySQL's table
`sync_gaps` keeps the gaps for all processes and across restarts. A comparison that finds the copy equal to its source,
or repairs it, deletes the gaps of its topic (`reconciliation.cli`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sync_service.kafka.deadlines import answering, is_missing_table

REMEDY = "run sync-service reconcile --repair, which ends the doubt"

# lost-events: the broker has deleted or lost them. skipped: by an operator. lost-copy: the copy is created empty.
# gone: a table does not exist. truncated, dropped, renamed, replaced, altered: statements that change rows without an
# event for each. unlogged: a session of MySQL has written no events, or not whole ones. unwatched: it is not known
# which statements there were.
Cause = Literal[
    "lost-events",
    "skipped",
    "lost-copy",
    "truncated",
    "dropped",
    "gone",
    "renamed",
    "replaced",
    "altered",
    "unlogged",
    "unwatched",
]
# The partition of a gap that is no range of events.
NO_PARTITION = -1


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing events of a partition: from the offset `first` up to but without `end`, which is None if unknown.

    A gap `of_source` is no range of events: the source changed without any.
    """

    topic: str
    topic_id: str
    partition: int
    first: int
    end: int | None
    reason: str
    cause: Cause = "lost-events"

    @classmethod
    def of_source(cls, topic: str, cause: Cause, reason: str) -> Self:
        return cls(topic, "", NO_PARTITION, 0, None, reason, cause)

    @property
    def is_of_source(self) -> bool:
        return self.partition == NO_PARTITION

    def __str__(self) -> str:
        if self.is_of_source:
            return self.reason
        until = "on" if self.end is None else f"to {self.end - 1}"
        events = f"events from offset {self.first} {until}"
        return f"{self.topic}-{self.partition}: {events} are not in the copy ({self.reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGap(Gap):
    """A stored gap. `found_at` is by the clock of the database."""

    found_at: datetime


class Gaps:
    """The gaps as of the last `refresh` or `record`. `engine` commits each statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: tuple[KnownGap, ...] = ()

    def of(self, topic: str) -> Sequence[KnownGap]:
        """The known gaps of a topic, the oldest first."""
        return [gap for gap in self._known if gap.topic == topic]

    async def record(self, gaps: Sequence[Gap]) -> None:
        """Store gaps. Raises `Unavailable`.

        A gap that is found again gets the current time and reason: a comparison that began before does not end the
        doubt.
        """
        async with answering(), self._engine.begin() as connection:
            await store(connection, gaps)
        await self.refresh()

    async def refresh(self) -> None:
        """Read the stored gaps. Raises `Unavailable`."""
        statement = text(
            "SELECT topic, topic_id, partition_number, first_offset, end_offset, reason, cause, found_at "
            "FROM sync_gaps ORDER BY found_at, topic, partition_number, first_offset"
        )
        async with answering(), self._engine.connect() as connection:
            rows = await connection.execute(statement)
            self._known = tuple(
                KnownGap(
                    row.topic,
                    row.topic_id,
                    row.partition_number,
                    row.first_offset,
                    row.end_offset,
                    row.reason,
                    row.cause,
                    found_at=row.found_at.replace(tzinfo=UTC),
                )
                for row in rows
            )


_STORE = text(
    "INSERT INTO sync_gaps (topic, topic_id, partition_number, first_offset, end_offset, reason, cause, found_at) "
    "VALUES (:topic, :topic_id, :partition, :first, :end, :reason, :cause, UTC_TIMESTAMP(6)) AS new "
    "ON DUPLICATE KEY UPDATE end_offset = GREATEST(sync_gaps.end_offset, new.end_offset), "
    "reason = new.reason, found_at = new.found_at"
)
_REASON_LENGTH = 500


async def store(connection: AsyncConnection, gaps: Sequence[Gap]) -> None:
    """Insert gaps, or give known ones the current time and reason. Raises the driver's errors."""
    for gap in gaps:
        values: dict[str, Any] = {name: getattr(gap, name) for name in _STORED}
        await connection.execute(_STORE, {**values, "reason": gap.reason[:_REASON_LENGTH]})


_STORED = ("topic", "topic_id", "partition", "first", "end", "cause")


async def now(engine: AsyncEngine) -> datetime:
    """The time by the clock of the database, which `forget` compares with. Raises `Unavailable`."""
    async with answering(), engine.connect() as connection:
        moment: datetime = (await connection.execute(text("SELECT UTC_TIMESTAMP(6)"))).scalar_one()
        return moment


async def forget(engine: AsyncEngine, topic: str, *, before: datetime) -> int:
    """Delete the gaps of a topic that were found before a time. Returns their number. Raises `Unavailable`."""
    statement = text("DELETE FROM sync_gaps WHERE topic = :topic AND found_at < :before")
    async with answering(), engine.begin() as connection:
        try:
            return (await connection.execute(statement, {"topic": topic, "before": before})).rowcount
        except ProgrammingError as error:
            if is_missing_table(error):
                return 0
            raise
