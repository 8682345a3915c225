"""Tells whether a pause holds: whether every process of the service knows it and has no event of the route in work.

Each process registers in MySQL before it reads the stops for the first time. So a process that starts while a route is
paused either reads the pause, or is found by the one who asks. A process holds a named lock of MySQL as long as it
lives: the lock of a process that was killed is free, and that of one that hangs is not.
"""

import json
import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sync_service.kafka.deadlines import answering
from sync_service.kafka.stops import Stop
from sync_service.sinks.base import Unavailable

# A process whose connection was lost opens another one before this time is over.
RECONNECT_SECONDS = 10.0
_LONGEST_NAME = 200


class Registration:
    """The entry of this process, another one with each connection to MySQL. `engine` commits each statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._name = f"{socket.gethostname()}, process {os.getpid()}"[:_LONGEST_NAME]
        self._connection: AsyncConnection | None = None
        self._held: set[Stop] = set()
        self._former: set[str] = set()
        self.process_id = ""

    async def renew(self, topics: Iterable[str], member_id: str = "") -> None:
        """Say that this process lives, and has the routes of these topics. Raises `Unavailable`.

        `member_id` is that of the consumer in its group; empty while it is in none.
        """
        written = {"topics": json.dumps(sorted(topics)), "member": member_id}
        if self._connection is not None:
            # The server may have closed it.
            with suppress(Unavailable):
                await self._announce(self._connection, written)
                return
            await self._disconnect()
        if self.process_id:
            self._former.add(self.process_id)
        # The server may not know yet that the former connection is lost, and keep its lock.
        self.process_id, self._held = uuid4().hex, set()
        async with answering():
            self._connection = connection = await self._engine.connect()
        try:
            async with answering():
                await connection.execute(
                    text("SELECT GET_LOCK(CONCAT('sync-service ', :process), 0)"), {"process": self.process_id}
                )
            await self._announce(connection, written)
            async with answering():
                await connection.execute(
                    text(
                        "DELETE FROM sync_processes WHERE process_id IN :former "
                        "OR (seen_at < UTC_TIMESTAMP(6) - INTERVAL 1 DAY "
                        "AND IS_FREE_LOCK(CONCAT('sync-service ', process_id)))"
                    ).bindparams(bindparam("former", expanding=True)),
                    {"former": sorted(self._former)},
                )
            self._former.clear()
        except BaseException:
            await self._disconnect()
            raise

    async def _announce(self, connection: AsyncConnection, written: Mapping[str, str]) -> None:
        async with answering():
            await connection.execute(
                text(
                    "INSERT INTO sync_processes (process_id, name, topics, member_id, seen_at) "
                    "VALUES (:process, :name, :topics, :member, UTC_TIMESTAMP(6)) AS new "
                    "ON DUPLICATE KEY UPDATE topics = new.topics, member_id = new.member_id, seen_at = new.seen_at"
                ),
                {"process": self.process_id, "name": self._name, **written},
            )

    async def confirm(self, pauses: Collection[Stop]) -> None:
        """Store that this process holds these pauses, and may apply nothing before a resume. Raises `Unavailable`."""
        self._held &= set(pauses)
        for pause in set(pauses) - self._held:
            async with answering(), self._engine.connect() as connection:
                await connection.execute(
                    text(
                        "INSERT INTO sync_held_pauses (topic, process_id, stopped_at) "
                        "VALUES (:topic, :process, :stopped_at) AS new "
                        "ON DUPLICATE KEY UPDATE stopped_at = new.stopped_at"
                    ),
                    {"topic": pause.topic, "process": self.process_id, "stopped_at": pause.stopped_at_utc},
                )
            self._held.add(pause)

    async def close(self) -> None:
        """When no more events are applied."""
        if self._connection is not None:
            with suppress(Unavailable):
                async with answering():
                    await self._connection.execute(
                        text("DELETE FROM sync_processes WHERE process_id = :process"), {"process": self.process_id}
                    )
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError, Unavailable):
                async with answering():
                    # Not back to the pool: the lock belongs to the session.
                    await connection.invalidate()
                    await connection.close()


@dataclass(frozen=True, slots=True)
class Process:
    """A process that may live.

    `topics` are those of its routes, `seconds` is the time since it was last seen, `holds` whether it holds the pause.
    `member_id` is that of its consumer in the group, or empty.
    """

    process_id: str
    name: str
    topics: frozenset[str]
    seconds: float
    holds: bool
    member_id: str

    def __str__(self) -> str:
        return f"{self.name} (last seen {self.seconds:.0f} s ago)"


async def processes(engine: AsyncEngine, pause: Stop | None = None) -> Sequence[Process]:
    """All processes of the service that may live, the longest unseen first. Raises `Unavailable`."""
    topic, stopped_at = (None, None) if pause is None else (pause.topic, pause.stopped_at_utc)
    async with answering(), engine.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT sync_processes.process_id, name, topics, member_id, "
                "TIMESTAMPDIFF(MICROSECOND, seen_at, UTC_TIMESTAMP(6)) / 1000000 AS seconds, "
                "IS_FREE_LOCK(CONCAT('sync-service ', sync_processes.process_id)) AS is_free, "
                "held.process_id IS NOT NULL AS holds FROM sync_processes LEFT JOIN sync_held_pauses AS held "
                "ON held.process_id = sync_processes.process_id AND held.topic = :topic "
                "AND held.stopped_at = :stopped_at ORDER BY seen_at"
            ),
            {"topic": topic, "stopped_at": stopped_at},
        )
        return [
            Process(
                row.process_id,
                row.name,
                frozenset(json.loads(row.topics)),
                float(row.seconds),
                holds=bool(row.holds),
                member_id=row.member_id,
            )
            for row in rows
            if not row.is_free or row.seconds < RECONNECT_SECONDS
        ]
