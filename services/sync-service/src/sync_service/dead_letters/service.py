"""Lists dead letters, tries them again and puts them aside. Made for the service and for the command alike."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import structlog

from sync_service.apply.decode import change_of
from sync_service.apply.ordering import Flow, stream
from sync_service.dead_letters.index import LetterIndex
from sync_service.dead_letters.models import Letter, LetterId, Resolution, Result, read
from sync_service.dead_letters.problems import LetterNotFound, LetterResolved
from sync_service.dead_letters.store import DeadLetters, LetterReader
from sync_service.kafka.deadlines import within
from sync_service.routes.config import Route
from sync_service.routes.problems import UnknownRoute
from sync_service.sinks.base import Rejected, Sink

log = structlog.get_logger(__name__)

# Of one request. The first one after a start reads the whole topic.
READ_SECONDS = 60.0

Action = Literal["retry", "discard"]
Outcome = Literal["applied", "skipped", "discarded", "rejected", "not-found", "already-resolved"]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a letter. It stays open only if it was rejected; `reason` says why."""

    id: LetterId
    outcome: Outcome
    reason: str | None = None


class _StillRejected(Exception):  # noqa: N818 - what happened
    """The letter can't be applied by the route as it is now."""


class DeadLetterService:
    """Everything may raise `KafkaError`. `routes` are as they are now; only a retry asks for a route's `sink`."""

    def __init__(
        self, reader: LetterReader, letters: DeadLetters, routes: Iterable[Route], sink: Callable[[Route], Sink]
    ) -> None:
        self._reader = reader
        self._letters = letters
        self._routes = {route.topic: route for route in routes}
        self._sink = sink
        self._index = LetterIndex("")
        self._catching_up = asyncio.Lock()

    def route_of(self, topic: str) -> str | None:
        """The name of the route that takes a topic."""
        return self._routes[topic].name if topic in self._routes else None

    async def open(self, route: str | None, *, behind: LetterId | None, limit: int) -> Sequence[LetterId]:
        """The oldest open ones, of a route if one is named. Raises `UnknownRoute`."""
        topics = None if route is None else self._topics_of(route)
        index = await self._current_index()
        return list(islice(index.open_behind(behind, topics), limit))

    async def open_by_topic(self) -> Mapping[str, int]:
        """How many are open, by the topic that they came from."""
        return (await self._current_index()).open_by_topic()

    async def read(self, ids: Collection[LetterId]) -> AsyncGenerator[Letter, None]:
        """These letters, one by one in the order of the topic, as far as they are there."""
        if not ids:
            return
        async with aclosing(self._reader.at(ids)) as records:
            async for record in records:
                if isinstance(letter := read(record), Letter):
                    yield letter

    async def get(self, letter_id: LetterId) -> tuple[Letter, Resolution | None]:
        """A letter, and what became of it if it is not open any more. Raises `LetterNotFound`."""
        index = await self._current_index()
        if not index.has(letter_id):
            raise LetterNotFound
        async with _in_time(), aclosing(self.read([letter_id])) as letters:
            async for letter in letters:
                return letter, index.resolution(letter_id)
        raise LetterNotFound

    async def settle(self, action: Action, letter_id: LetterId, *, by: str) -> Settlement:
        """Retry or discard one. Raises `LetterNotFound`, `LetterResolved`, `Unavailable`."""
        async with aclosing(self.settle_all(action, [letter_id], by=by)) as settled:
            async for settlement in settled:
                match settlement.outcome:
                    case "not-found":
                        raise LetterNotFound
                    case "already-resolved":
                        raise LetterResolved
                return settlement
        raise LetterNotFound

    async def settle_all(
        self, action: Action, ids: Collection[LetterId], *, by: str
    ) -> AsyncGenerator[Settlement, None]:
        """Retry or discard letters, one after the other, the oldest first.

        A retry maps the event by the route as it is now, and applies it only if its row is not newer. Two who do it
        at the same time do no harm: the second finds it to be done. Raises `Unavailable`, with that letter and those
        behind it still open.
        """
        index = await self._current_index()
        for letter_id in sorted(set(ids)):
            if not index.is_open(letter_id):
                is_resolved = index.resolution(letter_id) is not None
                yield Settlement(letter_id, "already-resolved" if is_resolved else "not-found")
        async with aclosing(self.read([each for each in set(ids) if index.is_open(each)])) as letters:
            async for letter in letters:
                yield await self._settle(action, letter, by)

    async def _settle(self, action: Action, letter: Letter, by: str) -> Settlement:
        try:
            result: Result = "discarded" if action == "discard" else await self._apply(letter)
        except _StillRejected as error:
            log.info("dead letter still rejected", letter=str(letter.id), by=by, reason=str(error))
            return Settlement(letter.id, "rejected", str(error))
        await self._letters.resolve(letter.id, result, by=by)
        log.info("dead letter resolved", letter=str(letter.id), result=result, by=by, notable=True)
        return Settlement(letter.id, result)

    async def _apply(self, letter: Letter) -> Literal["applied", "skipped"]:
        origin = letter.origin
        if origin.topic not in self._routes:
            raise _StillRejected(f"no route takes the topic {origin.topic}")
        route = self._routes[origin.topic]
        key, value = await self._event(letter)
        try:
            change = change_of(
                route, key, value, stream=stream(origin.topic_id, origin.partition), number=origin.offset
            )
        except Exception as error:  # there is no I/O in it: what fails, fails because of the event
            raise _StillRejected(str(error) or type(error).__name__) from error
        if change is None:
            return "skipped"
        try:
            written = await self._sink(route).write([change], Flow.REPLAY)
        except Rejected as error:
            raise _StillRejected(str(error)) from error
        return "applied" if written.applied else "skipped"

    async def _event(self, letter: Letter) -> tuple[bytes | None, bytes | None]:
        """Key and value as they came."""
        if letter.omitted_bytes is None:
            return letter.key, letter.value
        record = await self._reader.event(letter.origin)
        if record is None:
            raise _StillRejected("the event was too large for the dead letters, and its topic has it no longer")
        return record.key, record.value

    def _topics_of(self, route: str) -> Collection[str]:
        topics = {topic for topic, each in self._routes.items() if each.name == route}
        if not topics:
            raise UnknownRoute
        return topics

    async def _current_index(self) -> LetterIndex:
        """The index, with all that is in the topic by now. What is read once is not read again."""
        async with _in_time(), self._catching_up:
            topic_id = await self._reader.topic_id()
            if topic_id != self._index.topic_id:
                self._index = LetterIndex(topic_id)
            await self._reader.catch_up(self._index)
            return self._index


def _in_time() -> AbstractAsyncContextManager[None]:
    """Raises `KafkaTimeoutError` after `READ_SECONDS`."""
    return within(READ_SECONDS, "the dead letters could not be read")
