"""Takes over a changed `routes.yaml` while the service runs.

Each process compares the content of the file with what it has every second, so that all processes that share the file
take it over. SIGHUP and `POST /v1/routes/reload` are quicker, and `sync-service routes reload` waits for it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from sync_service.routes.changes import RouteChanges
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, parse_routes, read_content
from sync_service.settings import Settings
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.schema import SourceSchema, require_separate_schema

log = structlog.get_logger(__name__)

WATCH_SECONDS = 1.0
_VERSION_CHARACTERS = 12


def version_of(content: bytes) -> str:
    """Equal for equal contents of the file: the beginning of their SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:_VERSION_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`changes` are none if the routes of the file are already in force."""

    version: str
    changes: RouteChanges


class RoutesReloader:
    """`content` and its `version` are those of the routes in force, None until the file is first read after the start.

    `problem` says why the file, as it is now, is not in force, and `refused` is its version; both are None if it is.
    `replace` puts routes in force. It raises `Unavailable`; then the next attempt follows.
    """

    def __init__(self, settings: Settings, replace: Callable[[Sequence[Route]], Awaitable[RouteChanges]]) -> None:
        self._settings = settings
        self._file = settings.sync_routes_file
        self._replace = replace
        self._requested = asyncio.Event()
        self._turn = asyncio.Lock()
        self._seen: str | None = None
        self.content: bytes | None = None
        self.version: str | None = None
        self.refused: str | None = None
        self.problem: str | None = None

    def request(self) -> None:
        """Read the file without waiting until it is due."""
        self._requested.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._reload_if_changed()
            except (InvalidRoutes, SourceSchema):
                # It is reported.
                pass
            except Unavailable as error:
                log.debug("the changed routes are not in force yet", reason=str(error))
            await self._wait()

    async def reload(self) -> Reloaded:
        """Put the routes of the file in force. Returns when they are.

        A wrong file changes nothing. Raises `InvalidRoutes`, `SourceSchema`, `Unavailable`.
        """
        async with self._turn:
            return await self._reload()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(WATCH_SECONDS):
                await self._requested.wait()
        except TimeoutError:
            return
        self._requested.clear()
        # What is requested does not wait for a second look.
        self._seen = await self._current_version()

    async def _current_version(self) -> str | None:
        """None if the file can't be read."""
        try:
            return version_of(await asyncio.to_thread(read_content, self._file))
        except InvalidRoutes:
            return None

    async def _reload_if_changed(self) -> None:
        """A file whose content changed since the last look may not be complete."""
        current, before = await self._current_version(), self._seen
        self._seen = current
        is_in_force = current is not None and current == self.version and self.problem is None
        is_refused = current == self.refused and self.problem is not None
        if current == before and not is_in_force and not is_refused:
            await self.reload()

    async def _reload(self) -> Reloaded:
        content: bytes | None = None
        try:
            content = await asyncio.to_thread(read_content, self._file)
            routes = await asyncio.to_thread(parse_routes, content, self._file, self._settings.sync_hash_secret)
            require_separate_schema(self._settings.mysql_url.get_secret_value(), routes)
        except (InvalidRoutes, SourceSchema) as error:
            self._refuse(None if content is None else version_of(content), str(error))
            raise
        changes = await self._replace(routes)
        self.content, self.version = content, version_of(content)
        self.refused = self.problem = None
        if changes:
            log.info(
                "routes reloaded",
                version=self.version,
                added=changes.added,
                changed=changes.changed,
                removed=changes.removed,
                notable=True,
            )
        return Reloaded(self.version, changes)

    def _refuse(self, version: str | None, reason: str) -> None:
        problem = "; ".join(reason.splitlines())
        if problem != self.problem:
            log.error("the changed routes are refused, the former ones stay in force", reason=problem, notable=True)
        self.refused, self.problem = version, problem
