"""Gaps: events that were deleted before they were read. The copy of their topic is in doubt until it is compared.

MySQL's table `sync_gaps` keeps them for all processes and across restarts. A comparison that finds the copy equal to
its source, or repairs it, deletes the gaps of its topic (`reconciliation.cli`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.kafka.deadlines import answering

_NO_SUCH_TABLE = 1146
REMEDY = "have the connector take a snapshot, or run sync-service reconcile --repair; reconcile ends the doubt"


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing events of a partition: from the offset `first` up to but without `end`, which is None if unknown."""

    topic: str
    topic_id: str
    partition: int
    first: int
    end: int | None
    reason: str

    def __str__(self) -> str:
        until = "on" if self.end is None else f"to {self.end - 1}"
        events = f"events from offset {self.first} {until}"
        return f"{self.topic}-{self.partition}: {events} are not in the copy ({self.reason})"


@dataclass(frozen=True, slots=True)
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
        statement = text(
            "INSERT INTO sync_gaps (topic, topic_id, partition_number, first_offset, end_offset, reason, found_at) "
            "VALUES (:topic, :topic_id, :partition, :first, :end, :reason, UTC_TIMESTAMP(6)) AS new "
            "ON DUPLICATE KEY UPDATE end_offset = GREATEST(sync_gaps.end_offset, new.end_offset), "
            "reason = new.reason, found_at = new.found_at"
        )
        async with answering(), self._engine.begin() as connection:
            for gap in gaps:
                await connection.execute(statement, {name: getattr(gap, name) for name in _STORED})
        await self.refresh()

    async def refresh(self) -> None:
        """Read the stored gaps. Raises `Unavailable`."""
        statement = text(
            "SELECT topic, topic_id, partition_number, first_offset, end_offset, reason, found_at "
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
                    row.found_at.replace(tzinfo=UTC),
                )
                for row in rows
            )


_STORED = ("topic", "topic_id", "partition", "first", "end", "reason")


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
            if error.orig is not None and error.orig.args[0] == _NO_SUCH_TABLE:
                # No sync-service of this version has run yet.
                return 0
            raise
