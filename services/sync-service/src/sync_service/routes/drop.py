"""Drops a route: its copy, its entry in the routes file, and what MySQL keeps about it, in this order. The topic stays.

A process with the route would create its copy again, and one may start with the former file at any time. So the route
is paused before, and the pause stays until it is certain that no process has the route. Each step can be repeated:
after a crash the command is run again.
"""

import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.files import write_atomically
from sync_service.kafka.deadlines import answering
from sync_service.kafka.pauses import processes
from sync_service.kafka.stops import Stop, Stops
from sync_service.routes.config import Route
from sync_service.routes.editing import CannotEdit, lines_of_entry, without_entry
from sync_service.routes.loader import InvalidRoutes, parse_routes
from sync_service.routes.pause import RoutePauser

_OF_TOPIC = ("sync_skips", "sync_erased")
_OF_ROUTE = ("sync_proven_ranges", "sync_proofs")
_PAUSE = ("sync_held_pauses", "sync_stops")


class NotDropped(Exception):  # noqa: N818 - nothing was changed
    """One sentence with the reason and the remedy. No more is changed than a pause."""


class EditByHand(NotDropped):
    """The file can't be changed here; the sentence says which lines to remove."""


class NotFinished(Exception):  # noqa: N818 - a state of the route
    """The copy is dropped, and the route is still in the file and paused. One sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class RoutesText:
    """A routes file, to remove one route from it."""

    path: Path
    name: str
    before: str
    after: str
    topics_after: Sequence[str]

    @classmethod
    def of(cls, path: Path, name: str, *, may_write: bool) -> "RoutesText":
        """Raises `EditByHand`, and `NotDropped` if the file would not be valid without the route."""
        path = path.resolve()
        before = path.read_bytes().decode("utf-8")
        try:
            after = without_entry(before, name)
        except CannotEdit as error:
            raise EditByHand(f"{path} can't be edited: {error}. Remove the route {name} from it yourself.") from error
        if not may_write or not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            raise EditByHand(f"{path} can't be changed here: remove {_place(before, name)} yourself.")
        try:
            routes = parse_routes(after.encode(), path, needs_secret=False)
        except InvalidRoutes as error:
            raise NotDropped(f"without the route {name} the file would not be valid: {error.problems[0]}") from error
        return cls(path, name, before, after, [route.topic for route in routes])

    def remove(self) -> None:
        """Remove the route from the file, unless it has changed since it was read. Raises `NotFinished`."""
        done = f"The route {self.name} is paused, and its copy is as you asked, but {self.path}"
        try:
            if self.path.read_bytes().decode("utf-8") != self.before:
                raise NotFinished(f"{done} was changed meanwhile. Repeat the command.")
            write_atomically(self.path, self.after.encode())
        except OSError as error:
            # A file that is mounted alone can't be replaced.
            raise NotFinished(
                f"{done} can't be replaced ({error}): remove {_place(self.before, self.name)} yourself, and repeat the "
                "command."
            ) from error


def _place(content: str, name: str) -> str:
    first, last = lines_of_entry(content, name)
    return f"lines {first} to {last} (route {name})"


async def finish_drop_from(topic: str, engine: AsyncEngine, topics_of_others: Collection[str]) -> None:
    """End the drop of a route that had this topic: its pause would be that of the next route of the topic.

    `topics_of_others` are those of the routes of the file, which has none with this topic yet.
    Raises `NotDropped` if a process still has the route, and `Unavailable`.
    """
    stops = Stops(engine)
    if (name := await stops.dropped_from(topic)) is not None:
        await stops.refresh()
        await RouteDropper(engine, stops).finish(name, {*stops.dropped(name), *topics_of_others} - {topic})


class RouteDropper:
    """`stops`, `engine` and a `pauser` are those of the running service's MySQL schema."""

    def __init__(self, engine: AsyncEngine, stops: Stops) -> None:
        self._engine = engine
        self._stops = stops

    async def drop(
        self,
        route: Route,
        file: RoutesText,
        drop_copy: Callable[[], Awaitable[None]] | None,
        *,
        pauser: RoutePauser,
        by: str,
    ) -> None:
        """Without `drop_copy` the copy is kept, and stays in doubt, if it is. The pause of the topic stays.

        Raises `NotDropped`, `PauseNotConfirmed`, `NotFinished`, `Unavailable`, and the errors of `drop_copy`.
        """
        pause = await self._require_pause(route, pauser, by)
        if not await self._stops.note_drop(pause, route.name):
            raise NotDropped(f"{route.name} was resumed meanwhile: pause it again")
        if drop_copy is not None:
            await drop_copy()
            await self._delete("topic", route.topic, ["sync_gaps"])
        file.remove()
        await self._forget(route.name, [route.topic], file.topics_after)

    async def finish(self, name: str, topics_of_others: Collection[str]) -> Sequence[str]:
        """Delete what is left of a dropped route that is no longer in the file, and the pause of its topic.

        Returns the topics, none if nothing is left. `topics_of_others` are those of the routes of the file, one of
        which may have the same topic now. Raises `NotDropped` if a process has the route, and `Unavailable`.
        """
        await self._stops.refresh()
        dropped = self._stops.dropped(name)
        topics = [topic for topic in dropped if topic not in topics_of_others]
        if dropped and not topics:
            raise NotDropped(
                f"{name} is dropped, and its pause is that of the route that has its topic {dropped[0]} now: resume "
                "that one"
            )
        await self._forget(name, topics, topics_of_others)
        for topic in topics:
            if names := await self._processes_with(topic):
                raise NotDropped(
                    f"{name} is dropped, and the pause of its topic {topic} stays until these processes have taken "
                    f"over the file, or have ended: {names}"
                )
            await self._delete("topic", topic, _PAUSE)
        return topics

    async def _require_pause(self, route: Route, pauser: RoutePauser, by: str) -> Stop:
        """The route's pause, which holds. If no process has the route it is paused first."""
        await self._stops.refresh()
        if self._stops.pause_of(route.topic) is None and await self._processes_with(route.topic):
            raise NotDropped(
                f"sync-service is running and applies the events of {route.name}: pause the route first "
                f"(`sync-service routes pause {route.name}`)"
            )
        await pauser.pause([route], by=by)
        return await self._stops.pause(route.topic, by)

    async def _processes_with(self, topic: str) -> str:
        return ", ".join(each.name for each in await processes(self._engine) if topic in each.topics)

    async def _forget(self, name: str, topics: Collection[str], topics_of_others: Collection[str]) -> None:
        # Another connector may read the same table.
        read = {_table(each) for each in topics_of_others}
        await self._delete("route", name, _OF_ROUTE)
        for topic in topics:
            await self._delete("topic", topic, _OF_TOPIC)
            await self._delete("kind = 'watched' AND name", topic, ("sync_source_states",))
            if (table := _table(topic)) not in read:
                columns = "kind = 'column' AND LEFT(name, CHAR_LENGTH(:value))"
                await self._delete(columns, f"{table}.", ("sync_source_states",))

    async def _delete(self, column: str, value: str, tables: Sequence[str]) -> None:
        async with answering(), self._engine.connect() as connection:
            for table in tables:
                statement = f"DELETE FROM {table} WHERE {column} = :value"  # noqa: S608 - names of this module
                await connection.execute(text(statement), {"value": value})


def _table(topic: str) -> str:
    return ".".join(topic.split(".")[-2:])
