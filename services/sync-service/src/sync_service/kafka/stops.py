"""Stopped and paused routes: their events wait until an operator resumes them. The other routes continue.

MySQL's table `sync_stops` keeps the stops for all processes and across restarts, and `sync_skips` the events that an
operator has decided to skip or discard with a resume. A process applies what it reads there, a few seconds later.
"""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sync_service.apply.stops import NEEDS_DECISION, StopCause
from sync_service.kafka.deadlines import answering, is_missing_table

_WHOLE_ROUTE = -1
# A route may be stopped and paused.
_PAUSE = -2
_LONGEST_REASON = 1000
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a route has stopped. `partition`, `topic_id` and `next_offset` name the event, or are None.

    `reason` begins with a short phrase, a colon and details, which may name accounts and addresses.
    """

    topic: str
    cause: StopCause
    reason: str
    stopped_at: datetime
    partition: int | None = None
    topic_id: str | None = None
    next_offset: int | None = None

    @property
    def is_pause(self) -> bool:
        """An operator has paused the route. There is no fault."""
        return self.cause == "paused"

    @property
    def partition_number(self) -> int:
        """As it is stored: part of a primary key, which has no NULL."""
        if self.is_pause:
            return _PAUSE
        return _WHOLE_ROUTE if self.partition is None else self.partition

    @property
    def stopped_at_utc(self) -> datetime:
        """As it is stored, without a time zone."""
        return self.stopped_at.astimezone(UTC).replace(tzinfo=None)

    def __str__(self) -> str:
        place = "" if self.partition is None else f" (partition {self.partition}, offset {self.next_offset})"
        return f"{self.reason}{place}"


@dataclass(frozen=True, slots=True)
class Skip:
    """The events of a partition before the offset `end` are not applied. `discards`: each becomes a dead letter."""

    topic: str
    topic_id: str
    partition: int
    end: int
    discards: bool
    by: str

    @property
    def place(self) -> Mapping[str, object]:
        """As parameters of a statement."""
        return {"topic": self.topic, "topic_id": self.topic_id, "partition": self.partition, "end": self.end}


class Stops:
    """The stops and skips as of the last `refresh`, and the stops that this process has noted since.

    `engine` commits each statement.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._stored: Sequence[Stop] = ()
        self._noted: dict[tuple[str, int | None], Stop] = {}
        self._has_news = asyncio.Event()
        # A refresh that began before a resume must not store the stops again that the resume deletes.
        self._turn = asyncio.Lock()
        self.skips: Sequence[Skip] = ()

    def of(self, topic: str) -> Sequence[Stop]:
        """Why the route of a topic is stopped, the oldest reason first; empty if it is not."""
        known = {stop.partition_number: stop for stop in (*self._stored, *self._noted.values()) if stop.topic == topic}
        return sorted(known.values(), key=lambda stop: stop.stopped_at)

    def faults_of(self, topic: str) -> Sequence[Stop]:
        """As `of`, without the pause."""
        return [stop for stop in self.of(topic) if not stop.is_pause]

    def pause_of(self, topic: str) -> Stop | None:
        return next((stop for stop in self._stored if stop.topic == topic and stop.is_pause), None)

    @property
    def pauses(self) -> Sequence[Stop]:
        """Of all routes, those of other processes' routes files, too."""
        return [stop for stop in self._stored if stop.is_pause]

    def is_stopped(self, topic: str) -> bool:
        """Is no event of the topic applied, because of a fault or of a pause?"""
        return any(stop.topic == topic for stop in self._stored) or any(name == topic for name, _ in self._noted)

    def skip_of(self, topic: str, topic_id: str, partition: int) -> Skip | None:
        place = (topic, topic_id, partition)
        return next((each for each in self.skips if (each.topic, each.topic_id, each.partition) == place), None)

    def note(self, stop: Stop) -> None:
        """Stop the route in this process immediately. `refresh` stores the stop for the others."""
        self._noted[(stop.topic, stop.partition)] = stop
        self._has_news.set()

    def wake(self) -> None:
        """Let `wait` return."""
        self._has_news.set()

    async def wait(self, seconds: float) -> None:
        """Return when a stop is noted or after `wake`, after this time at the latest."""
        try:
            async with asyncio.timeout(seconds):
                await self._has_news.wait()
        except TimeoutError:
            pass

    async def refresh(self) -> None:
        """Store what this process has noted, and read what all processes know. Raises `Unavailable`."""
        async with self._turn:
            await self._refresh()

    async def _refresh(self) -> None:
        self._has_news.clear()
        noted = dict(self._noted)
        async with answering(), self._engine.connect() as connection:
            for stop in noted.values():
                await _store(connection, stop)
            stored = await _stops(connection)
            # Afterwards: a resume inserts its skips before it deletes the stops.
            skips = await _skips(connection)
        self._stored, self.skips = stored, skips
        self._noted = {place: stop for place, stop in self._noted.items() if noted.get(place) is not stop}

    async def pause(self, topic: str, by: str) -> Stop:
        """Pause the route for all processes. Returns the pause, or the one that it has already. Raises `Unavailable`.

        The processes notice it later; `kafka.pauses` says when it holds.
        """
        pause = Stop(topic, "paused", f"paused: by {by[:_LONGEST_NAME]}", datetime.now(UTC))
        async with self._turn:
            async with answering(), self._engine.connect() as connection:
                await _store(connection, pause, replace=False)
            await self._refresh()
        self._has_news.set()
        stored = self.pause_of(topic)
        # Unless it was resumed in the meantime.
        return pause if stored is None else stored

    async def note_drop(self, pause: Stop, route: str) -> bool:
        """Store that the route of this pause is dropped. False if the pause is over. Raises `Unavailable`."""
        async with answering(), self._engine.connect() as connection:
            await _execute(
                connection,
                "UPDATE sync_stops SET reason = :reason "
                "WHERE topic = :topic AND partition_number = :pause AND stopped_at = :stopped_at",
                reason=_of_dropped(route),
                topic=pause.topic,
                pause=_PAUSE,
                stopped_at=pause.stopped_at_utc,
            )
        await self.refresh()
        return pause.topic in self.dropped(route)

    def dropped(self, route: str) -> Sequence[str]:
        """The topics whose route of this name was dropped."""
        return [pause.topic for pause in self.pauses if pause.reason == _of_dropped(route)]

    async def is_dropped(self, topic: str, route: str) -> bool:
        """Is the route of this topic dropped, as of now? A process may still have it. Raises `Unavailable`."""
        return await self.dropped_from(topic) == route

    async def dropped_from(self, topic: str) -> str | None:
        """The name of the route of this topic that was dropped, as of now and as long as the pause of its drop stays.

        Raises `Unavailable`.
        """
        query = text("SELECT reason FROM sync_stops WHERE topic = :topic AND partition_number = :pause")
        async with answering(), self._engine.connect() as connection:
            try:
                reason = await connection.scalar(query, {"topic": topic, "pause": _PAUSE})
            except ProgrammingError as error:
                if not is_missing_table(error):
                    raise
                reason = None
        found = _OF_DROPPED.fullmatch(reason or "")
        return None if found is None else found[1]

    async def resume(self, topic: str, skips: Collection[Skip]) -> None:
        """Let all processes continue with the route, without the events in `skips`. Raises `Unavailable`."""
        async with self._turn:
            await self._resume(topic, skips)
            await self._refresh()
        self._has_news.set()

    async def _resume(self, topic: str, skips: Collection[Skip]) -> None:
        async with answering(), self._engine.connect() as connection:
            # Those that an operator has decided before may not be done yet: the end of a pause changes none of them.
            await _execute(
                connection,
                "DELETE FROM sync_skips WHERE topic = :topic AND (:replace OR EXISTS "
                "(SELECT 1 FROM sync_stops WHERE topic = :topic AND partition_number <> :pause))",
                topic=topic,
                replace=bool(skips),
                pause=_PAUSE,
            )
            for skip in skips:
                await _execute(
                    connection,
                    "INSERT INTO sync_skips (topic, topic_id, partition_number, end_offset, discards, requested_by, "
                    "requested_at) VALUES (:topic, :topic_id, :partition, :end, :discards, :by, UTC_TIMESTAMP(6))",
                    **skip.place,
                    discards=skip.discards,
                    by=skip.by[:_LONGEST_NAME],
                )
            await _execute(connection, "DELETE FROM sync_stops WHERE topic = :topic", topic=topic)
            await _execute(connection, "DELETE FROM sync_held_pauses WHERE topic = :topic", topic=topic)
        for place in [place for place in self._noted if place[0] == topic]:
            del self._noted[place]

    async def try_again(self, topic: str) -> Sequence[Stop]:
        """Delete the stops of a route that need no decision, after a restart. Raises `Unavailable`."""
        deleted = [stop for stop in self.of(topic) if stop.cause not in NEEDS_DECISION]
        if not deleted:
            return ()
        async with self._turn, answering(), self._engine.connect() as connection:
            for stop in deleted:
                await _execute(
                    connection,
                    "DELETE FROM sync_stops WHERE topic = :topic AND partition_number = :partition AND cause = :cause",
                    topic=topic,
                    partition=stop.partition_number,
                    cause=stop.cause,
                )
                self._noted.pop((topic, stop.partition), None)
        await self.refresh()
        return deleted

    async def forget_skips(self, skips: Collection[Skip]) -> None:
        """Delete skips whose events are behind the committed offset. Raises `Unavailable`."""
        async with answering(), self._engine.connect() as connection:
            for skip in skips:
                await _execute(
                    connection,
                    "DELETE FROM sync_skips WHERE topic = :topic AND topic_id = :topic_id "
                    "AND partition_number = :partition AND end_offset = :end",
                    **skip.place,
                )
        self.skips = [each for each in self.skips if each not in skips]


_OF_DROPPED = re.compile("paused: route (.*) was dropped")


def _of_dropped(route: str) -> str:
    return f"paused: route {route} was dropped"[:_LONGEST_REASON]


async def _execute(connection: AsyncConnection, statement: str, **parameters: object) -> None:
    await connection.execute(text(statement), parameters)


async def _store(connection: AsyncConnection, stop: Stop, *, replace: bool = True) -> None:
    """The latest reason counts, or the first one unless it may `replace` that; the time is that of the first stop."""
    await _execute(
        connection,
        "INSERT INTO sync_stops (topic, partition_number, topic_id, next_offset, cause, reason, stopped_at) "
        "VALUES (:topic, :partition, :topic_id, :next_offset, :cause, :reason, :stopped_at) AS new "
        "ON DUPLICATE KEY UPDATE topic_id = new.topic_id, next_offset = new.next_offset, cause = new.cause, "
        "reason = IF(:replace, new.reason, sync_stops.reason)",
        replace=replace,
        topic=stop.topic,
        partition=stop.partition_number,
        topic_id=stop.topic_id,
        next_offset=stop.next_offset,
        cause=stop.cause,
        reason=stop.reason[:_LONGEST_REASON],
        stopped_at=stop.stopped_at_utc,
    )


async def _stops(connection: AsyncConnection) -> Sequence[Stop]:
    rows = await connection.execute(
        text("SELECT topic, partition_number, topic_id, next_offset, cause, reason, stopped_at FROM sync_stops")
    )
    return [
        Stop(
            topic=row.topic,
            cause=row.cause,
            reason=row.reason,
            stopped_at=row.stopped_at.replace(tzinfo=UTC),
            partition=None if row.partition_number < 0 else row.partition_number,
            topic_id=row.topic_id,
            next_offset=row.next_offset,
        )
        for row in rows
    ]


async def _skips(connection: AsyncConnection) -> Sequence[Skip]:
    rows = await connection.execute(
        text("SELECT topic, topic_id, partition_number, end_offset, discards, requested_by FROM sync_skips")
    )
    return [
        Skip(row.topic, row.topic_id, row.partition_number, row.end_offset, bool(row.discards), row.requested_by)
        for row in rows
    ]
