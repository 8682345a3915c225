"""`sync-service dead-letters …`."""

import os
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import KafkaSettings
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.times import rfc3339
from sync_service.dead_letters.models import DeadLetterId
from sync_service.dead_letters.schemas import DeadLetterDetail, DeadLetterSummary, ResolvedDeadLetter
from sync_service.dead_letters.service import Action, DeadLetterService
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.endings import run_to_end
from sync_service.kafka.stops import Stops
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.routes.protection import HashSecret
from sync_service.sinks.base import Sink
from sync_service.sinks.mysql.schema import require_separate_schema
from sync_service.sinks.registry import Stores

# The number of ids that are listed at a time.
_PAGE = 200
_REASON_WIDTH = 100


class DeadLetterSettings(KafkaSettings):
    """Listing and discarding need the broker; a retry needs the stores, too."""

    sync_routes_file: Path = Field(default_factory=default_routes_file)
    sync_hash_secret: HashSecret = None


class RetrySettings(DeadLetterSettings):
    mysql_url: MysqlAddress = Field(default=...)
    mongodb_url: MongodbAddress = Field(default=...)


def list_dead_letters(*, route: str | None, limit: int, as_json: bool) -> int:
    """Print the oldest open dead letters, one per line."""
    settings = DeadLetterSettings()

    async def show() -> int:
        async with _service(settings) as service:
            found = await service.open(route, after=None, limit=limit + 1)
            async for letter in service.read(found[:limit]):
                print(_line(DeadLetterSummary.of(letter, service.route_of(letter.origin.topic)), as_json=as_json))
            if len(found) > limit:
                print(f"there are more than {limit}; use --limit to show more", file=sys.stderr)
            return 0

    return _run(show(), settings)


def show_dead_letter(letter_id: DeadLetterId, *, as_json: bool) -> int:
    """Print one dead letter with all its fields."""
    settings = DeadLetterSettings()

    async def show() -> int:
        async with _service(settings) as service:
            letter, resolution = await service.get(letter_id)
            detail = DeadLetterDetail.with_resolution(letter, service.route_of(letter.origin.topic), resolution)
            print(detail.model_dump_json() if as_json else _page(detail))
            return 0

    return _run(show(), settings)


def resolve_dead_letters(action: Action, ids: Sequence[DeadLetterId], *, everything: bool, route: str | None) -> int:
    """Retry or discard the given dead letters, all, or all of a route. Returns 1 if at least one is still open."""
    settings = RetrySettings() if action == "retry" else DeadLetterSettings()
    by = f"command line ({os.environ.get('USER') or os.getuid()})"

    async def resolve() -> int:
        open_left = 0
        async with _service(settings) as service:
            async for some in _batches(service, ids, everything=everything, route=route):
                async with aclosing(service.resolve_all(action, some, by=by)) as resolved:
                    async for each in resolved:
                        result = ResolvedDeadLetter.of(each)
                        print(
                            f"{result.id}  {result.outcome}" + (f": {result.reason}" if result.reason else ""),
                            flush=True,
                        )
                        open_left += result.outcome in ("rejected", "not-found")
        return 1 if open_left else 0

    return _run(resolve(), settings)


async def _batches(
    service: DeadLetterService, ids: Sequence[DeadLetterId], *, everything: bool, route: str | None
) -> AsyncIterator[Sequence[DeadLetterId]]:
    if not everything:
        yield ids
        return
    after = None
    while some := await service.open(route, after=after, limit=_PAGE):
        yield some
        after = some[-1]


@asynccontextmanager
async def _service(settings: DeadLetterSettings) -> AsyncIterator[DeadLetterService]:
    routes = load_routes(settings.sync_routes_file, settings.sync_hash_secret)
    kafka = KafkaClients.of(settings)
    letters, reader = DeadLetterWriter(kafka), DeadLetterReader(kafka)
    try:
        if isinstance(settings, RetrySettings):
            require_separate_schema(settings.mysql_url.get_secret_value(), routes)
            stores = Stores(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
            try:
                yield DeadLetterService(reader, letters, lambda: routes, stores.sink, Stops(stores.engine).is_dropped)
            finally:
                await stores.close()
        else:
            yield DeadLetterService(reader, letters, lambda: routes, _no_sink, _not_asked)
    finally:
        await letters.close()


def _no_sink(route: Route) -> Sink:
    raise AssertionError(f"{route.name}: only a retry needs the sink")


async def _not_asked(_topic: str, route: str) -> bool:
    raise AssertionError(f"{route}: only a retry asks whether it is dropped")


def _run(work: Coroutine[Any, Any, int], settings: DeadLetterSettings) -> int:
    return run_to_end(work, KafkaClients.of(settings), hint="; nothing is lost, try again")


def _line(letter: DeadLetterSummary, *, as_json: bool) -> str:
    if as_json:
        return letter.model_dump_json()
    place = f"{letter.topic}-{letter.partition}@{letter.offset}"
    reason = f"{letter.error}: {letter.reason}".splitlines()[0][:_REASON_WIDTH]
    return f"{letter.id}  {rfc3339(letter.failed_at)}  {letter.route or 'no route'}  {place}  {reason}"


def _page(letter: DeadLetterDetail) -> str:
    resolution = letter.resolution
    state = "open" if resolution is None else f"{resolution.result} by {resolution.by} at {rfc3339(resolution.at)}"
    fields = {
        "letter": f"{letter.id}, {state}",
        "route": letter.route or f"no route reads {letter.topic}",
        "from": f"{letter.topic}-{letter.partition}@{letter.offset}",
        "failed": f"{rfc3339(letter.failed_at)} at {letter.stage}",
        "reason": f"{letter.error}: {letter.reason}",
        "key": "none" if letter.key is None else letter.key,
        **{f"header {header.name}": header.value for header in letter.headers},
        "value": "too large for the dead letters: its own topic has it" if letter.value is None else letter.value,
    }
    return "\n".join(f"{name}: {text}" for name, text in fields.items())
