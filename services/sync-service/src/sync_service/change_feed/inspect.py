"""`sync-service inspect`."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from pydantic import Field

from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import KafkaSettings
from sync_service.change_feed.event_view import EventFilter, render
from sync_service.change_feed.formatting import as_text
from sync_service.kafka.tail import Begin, tail
from sync_service.routes.loader import default_routes_file, load_routes

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class InspectSettings(KafkaSettings):
    """`inspect` needs the broker and the names of the topics, and no database."""

    sync_routes_file: Path = Field(default_factory=default_routes_file)


@dataclass(frozen=True)
class InspectOptions:
    """Which events to print, from which start, and how. Topics and routes are combined; without any, all routes."""

    topics: Sequence[str]
    routes: Sequence[str]
    event_filter: EventFilter
    begin: Begin
    limit: int | None
    as_json: bool


def parse_begin(text: str, now: datetime) -> datetime:
    """A time in RFC 3339, or an age: `90s`, `10m`, `2h`, `1d`. Raises `ValueError`."""
    if (ago := _AGO.fullmatch(text)) is not None:
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise ValueError("before the calendar begins") from error
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def inspect(options: InspectOptions) -> None:
    """Print change events until Ctrl-C, or until `limit` events are printed."""
    settings = InspectSettings()
    routes = {route.topic: route.name for route in load_routes(settings.sync_routes_file, needs_secret=False)}
    topics = _topics(options, routes)
    in_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    async def show() -> None:
        printed, stop = 0, asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        following = tail(KafkaClients.of(settings), topics, begin=options.begin, stop=stop, note_missing=_note_missing)
        async with aclosing(following) as records:
            async for record in records:
                view = render(record, routes)
                if view is None or not options.event_filter.matches(view):
                    continue
                print(view.as_json() if options.as_json else as_text(view, in_colour=in_colour), flush=True)
                printed += 1
                if printed == options.limit:
                    return

    try:
        asyncio.run(show())
    except UnknownTopicOrPartitionError as error:
        sys.exit(f"error: {error.args[0]}")
    except KafkaError as error:
        sys.exit(f"error: {asyncio.run(KafkaClients.of(settings).explain(error))}")
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()


def _note_missing(topics: Collection[str]) -> None:
    for topic in sorted(topics):
        print(
            f"topic {topic} does not exist or can't be read yet; its events are shown when it can be read",
            file=sys.stderr,
        )


def _topics(options: InspectOptions, routes: Mapping[str, str]) -> Sequence[str]:
    if unknown := sorted(set(options.routes) - set(routes.values())):
        sys.exit(f"error: no route is named {unknown[0]}; the routes are {', '.join(sorted(routes.values()))}")
    of_routes = [topic for topic, name in routes.items() if name in options.routes]
    return list(dict.fromkeys([*options.topics, *of_routes])) or list(routes)
