"""Lists, retries and discards dead letters, for the HTTP API and for the command."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

import structlog

from service_kit.error_texts import error_message
from sync_service.apply.decode import decode_change
from sync_service.apply.ordering import ApplyMode, applies, topic_partition
from sync_service.dead_letters.index import DeadLetterIndex
from sync_service.dead_letters.models import DeadLetter, DeadLetterId, Resolution, Result, read
from sync_service.dead_letters.problems import DeadLetterAlreadyResolved, DeadLetterNotFound
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.kafka.deadlines import within
from sync_service.routes.config import Route
from sync_service.routes.personal import PersonalFields
from sync_service.routes.problems import UnknownRoute
from sync_service.sinks.base import TOMBSTONE_LIFETIME, Rejected, RouteRefused, Sink

log = structlog.get_logger(__name__)

# The deadline of one request. The first one after a start reads the whole topic.
READ_SECONDS = 60.0

_IN_DOUBT = (
    "nothing proves which of the two is newer, the event or the row: reconcile the route, then discard the dead letter"
)
_MAY_BE_DELETED = (
    f"its row does not exist, and may have been deleted since: tombstones are kept for {TOMBSTONE_LIFETIME.days} days. "
    "Reconcile the route with --repair, then discard the dead letter"
)

Action = Literal["retry", "discard"]
ResolveOutcome = Literal["applied", "skipped", "discarded", "rejected", "not-found", "already-resolved"]


@dataclass(frozen=True, slots=True)
class ResolveResult:
    """The outcome of a retry or discard. A rejected dead letter stays open; `reason` says why."""

    id: DeadLetterId
    outcome: ResolveOutcome
    reason: str | None = None


class _RetryFailed(Exception):  # noqa: N818 - what happened
    """The event can't be applied with the current route."""


class DeadLetterService:
    """All methods may raise `KafkaError`. Only a retry needs the `sink` of a route.

    `routes` returns those in force, which may be replaced by others. `is_dropped`, of a topic and the name of its
    route, tells whether the route was dropped: its copy must not be created again.
    """

    def __init__(
        self,
        reader: DeadLetterReader,
        letters: DeadLetterWriter,
        routes: Callable[[], Iterable[Route]],
        sink: Callable[[Route], Sink],
        is_dropped: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._reader = reader
        self._letters = letters
        self._routes_in_force = routes
        self._sink = sink
        self._is_dropped = is_dropped
        self._index = DeadLetterIndex("")
        self._catching_up = asyncio.Lock()

    @property
    def _routes(self) -> Mapping[str, Route]:
        """By topic."""
        return {route.topic: route for route in self._routes_in_force()}

    def route_of(self, topic: str) -> str | None:
        """The name of the route that reads a topic."""
        route = self._routes.get(topic)
        return None if route is None else route.name

    def personal_fields_of(self, topic: str) -> PersonalFields:
        """The personal fields of the events of a topic."""
        return PersonalFields(self._routes.get(topic))

    async def open(self, route: str | None, *, after: DeadLetterId | None, limit: int) -> Sequence[DeadLetterId]:
        """The ids of the oldest open dead letters, of one route if it is given. Raises `UnknownRoute`."""
        topics = None if route is None else self._topics_of(route)
        index = await self._current_index()
        return list(islice(index.open_after(after, topics), limit))

    async def open_by_topic(self) -> Mapping[str, int]:
        """The number of open dead letters, by the topic of their events."""
        return (await self._current_index()).open_by_topic()

    async def read(self, ids: Collection[DeadLetterId]) -> AsyncGenerator[DeadLetter, None]:
        """These dead letters in the order of the topic, without those that are deleted."""
        if not ids:
            return
        async with aclosing(self._reader.at(ids)) as records:
            async for record in records:
                if isinstance(letter := read(record), DeadLetter):
                    yield letter

    async def get(self, letter_id: DeadLetterId) -> tuple[DeadLetter, Resolution | None]:
        """A dead letter and its resolution, None while it is open. Raises `DeadLetterNotFound`."""
        index = await self._current_index()
        if not index.has(letter_id):
            raise DeadLetterNotFound
        async with _in_time(), aclosing(self.read([letter_id])) as letters:
            async for letter in letters:
                return letter, index.resolution(letter_id)
        raise DeadLetterNotFound

    async def resolve(self, action: Action, letter_id: DeadLetterId, *, by: str) -> ResolveResult:
        """Retry or discard one. Raises `DeadLetterNotFound`, `DeadLetterAlreadyResolved`, `Unavailable`."""
        async with aclosing(self.resolve_all(action, [letter_id], by=by)) as resolved:
            async for result in resolved:
                match result.outcome:
                    case "not-found":
                        raise DeadLetterNotFound
                    case "already-resolved":
                        raise DeadLetterAlreadyResolved
                return result
        raise DeadLetterNotFound

    async def resolve_all(
        self, action: Action, ids: Collection[DeadLetterId], *, by: str
    ) -> AsyncGenerator[ResolveResult, None]:
        """Retry or discard dead letters in order, the oldest first.

        A retry maps the event with the current route, and applies it only if its row is not newer. Two concurrent
        retries do no harm: the second one is skipped. Raises `Unavailable`; then that dead letter and the ones after it
        are still open.
        """
        index = await self._current_index()
        for letter_id in sorted(set(ids)):
            if not index.is_open(letter_id):
                is_resolved = index.resolution(letter_id) is not None
                yield ResolveResult(letter_id, "already-resolved" if is_resolved else "not-found")
        async with aclosing(self.read([each for each in set(ids) if index.is_open(each)])) as letters:
            async for letter in letters:
                yield await self._resolve(action, letter, by)

    async def _resolve(self, action: Action, letter: DeadLetter, by: str) -> ResolveResult:
        try:
            result: Result = "discarded" if action == "discard" else await self._apply(letter)
        except _RetryFailed as error:
            log.info("dead letter still rejected", letter=str(letter.id), by=by, reason=str(error))
            return ResolveResult(letter.id, "rejected", str(error))
        await self._letters.resolve(letter.id, result, by=by)
        log.info("dead letter resolved", letter=str(letter.id), result=result, by=by, notable=True)
        return ResolveResult(letter.id, result)

    async def _apply(self, letter: DeadLetter) -> Literal["applied", "skipped"]:
        origin = letter.origin
        if (route := self._routes.get(origin.topic)) is None:
            raise _RetryFailed(f"no route reads the topic {origin.topic}")
        # That of this route, even if another one reads the topic meanwhile.
        sink = self._sink(route)
        if await self._is_dropped(route.topic, route.name):
            raise _RetryFailed(f"the route {route.name} was dropped")
        key, value = await self._event(letter)
        try:
            change = decode_change(
                route,
                key,
                value,
                topic_partition=topic_partition(origin.topic_id, origin.partition),
                number=origin.offset,
            )
        except Exception as error:  # without I/O, the event is the cause
            raise _RetryFailed(error_message(error)) from error
        if change is None:
            return "skipped"
        try:
            needs_row = change.values is not None and _is_older_than_tombstones(letter, route)
            if needs_row and await sink.version(change.key) is None:
                raise _RetryFailed(_MAY_BE_DELETED)
            written = await sink.write([change], ApplyMode.RETRY)
            if written.applied:
                return "applied"
            stored = await sink.version(change.key)
        except (Rejected, RouteRefused) as error:
            raise _RetryFailed(str(error)) from error
        if stored is None or applies(change.version, stored):
            raise _RetryFailed(_IN_DOUBT)
        return "skipped"

    async def _event(self, letter: DeadLetter) -> tuple[bytes | None, bytes | None]:
        """Key and value of the event."""
        if letter.omitted_bytes is None:
            return letter.key, letter.value
        record = await self._reader.event(letter.origin)
        if record is None:
            raise _RetryFailed("the event was too large for the dead letters, and its topic no longer has it")
        return record.key, record.value

    def _topics_of(self, route: str) -> Collection[str]:
        topics = {topic for topic, each in self._routes.items() if each.name == route}
        if not topics:
            raise UnknownRoute
        return topics

    async def _current_index(self) -> DeadLetterIndex:
        """The index, up to date with the topic. Records are read only once."""
        async with _in_time(), self._catching_up:
            topic_id = await self._reader.topic_id()
            if topic_id != self._index.topic_id:
                self._index = DeadLetterIndex(topic_id)
            await self._reader.catch_up(self._index)
            return self._index


def _is_older_than_tombstones(letter: DeadLetter, route: Route) -> bool:
    return route.tombstones != "keep" and letter.failed_at < datetime.now(UTC) - TOMBSTONE_LIFETIME


def _in_time() -> AbstractAsyncContextManager[None]:
    """Raises `KafkaTimeoutError` after `READ_SECONDS`."""
    return within(READ_SECONDS, "the dead letters could not be read")
