"""Drops a route: its entry in the routes file, its copy, and what MySQL keeps about it. The topic stays.

A running process that still has the route would create its copy again. So the route must be paused, and the copy is
dropped when every running process has taken over the changed file.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.kafka.deadlines import answering
from sync_service.kafka.pauses import processes
from sync_service.kafka.stops import Stops
from sync_service.routes.config import Route
from sync_service.routes.editing import CannotEdit, lines_of_entry, without_entry
from sync_service.routes.loader import InvalidRoutes
from sync_service.routes.pause import RoutePauser
from sync_service.routes.storing import require_valid, write_atomically

# A process reads a changed file within seconds.
RELOAD_SECONDS = 30
POLL_SECONDS = 0.2

_OF_TOPIC = ("sync_skips", "sync_erased", "sync_held_pauses", "sync_stops")
_OF_ROUTE = ("sync_proven_ranges", "sync_proofs")


class NotDropped(Exception):  # noqa: N818 - nothing was changed
    """One sentence with the reason and the remedy. Nothing is changed."""


class EditByHand(NotDropped):
    """The file can't be changed here; the sentence says which lines to remove."""


@dataclass(frozen=True, slots=True)
class RoutesText:
    """A routes file, to remove one route from it."""

    path: Path
    name: str
    before: str
    after: str

    @classmethod
    def of(cls, path: Path, name: str, *, may_write: bool) -> "RoutesText":
        """Raises `EditByHand`, and `NotDropped` if the file would not be valid without the route."""
        path = path.resolve()
        before = path.read_bytes().decode("utf-8")
        try:
            after = without_entry(before, name)
        except CannotEdit as error:
            raise EditByHand(f"{path} can't be edited: {error}. Remove the route {name} from it yourself.") from error
        file = cls(path, name, before, after)
        if not may_write or not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            raise EditByHand(f"{path} can't be changed here: remove {file.place} yourself.")
        try:
            require_valid(path, after)
        except InvalidRoutes as error:
            raise NotDropped(f"without the route {name} the file would not be valid: {error.problems[0]}") from error
        return file

    @property
    def place(self) -> str:
        first, last = lines_of_entry(self.before, self.name)
        return f"lines {first} to {last} (route {self.name})"


class RouteDropper:
    """`drop_copy` drops the copy of the route, or keeps it."""

    def __init__(
        self, engine: AsyncEngine, pauser: RoutePauser, drop_copy: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._engine = engine
        self._pauser = pauser
        self._drop_copy = drop_copy

    async def drop(self, route: Route, file: RoutesText, *, seconds: float = RELOAD_SECONDS) -> None:
        """Raises `NotDropped`, `Unavailable`, and the errors of `drop_copy`, after which it can be repeated."""
        await self._require_pause(route)
        try:
            write_atomically(file.path, file.after)
        except OSError as error:
            # A file that is mounted alone can't be replaced.
            raise EditByHand(f"{file.path} can't be replaced ({error}): remove {file.place} yourself.") from error
        try:
            await self._wait_until_taken_over(route, file, seconds)
            if self._drop_copy is not None:
                await self._drop_copy()
            await self._forget(route)
        except BaseException:
            # So that the command can be repeated.
            write_atomically(file.path, file.before)
            raise

    async def _require_pause(self, route: Route) -> None:
        stops = Stops(self._engine)
        await stops.refresh()
        pause = stops.pause_of(route.topic)
        if pause is not None:
            if reason := await self._pauser.doubt([pause]):
                raise NotDropped(f"it is not certain that the pause of {route.name} holds: {reason}")
        elif await self._processes_with(route):
            raise NotDropped(
                f"sync-service is running and applies the events of {route.name}: pause the route first "
                f"(`sync-service routes pause {route.name}`)"
            )
        elif not await processes(self._engine) and (reason := await self._pauser.doubt([])):
            raise NotDropped(f"it is not certain that sync-service is stopped: {reason}. Pause the route")

    async def _wait_until_taken_over(self, route: Route, file: RoutesText, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while names := await self._processes_with(route):
            if time.monotonic() >= deadline:
                raise NotDropped(
                    f"a running process has not taken over the changed {file.path} within {seconds:g} s, so nothing is "
                    f"dropped and the file is as before: {names}. Stop sync-service, and drop the route then."
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _processes_with(self, route: Route) -> str:
        return ", ".join(each.name for each in await processes(self._engine) if route.topic in each.topics)

    async def _forget(self, route: Route) -> None:
        """A copy that is kept stays in doubt, if it is."""
        tables = _OF_TOPIC if self._drop_copy is None else ("sync_gaps", *_OF_TOPIC)
        async with answering(), self._engine.connect() as connection:
            for column, value, names in (("route", route.name, _OF_ROUTE), ("topic", route.topic, tables)):
                for table in names:
                    statement = f"DELETE FROM {table} WHERE {column} = :value"  # noqa: S608 - names of this module
                    await connection.execute(text(statement), {"value": value})
