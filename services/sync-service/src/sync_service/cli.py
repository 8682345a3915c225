"""`sync-service run` and `sync-service inspect`."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings

from service_kit.server import serve
from service_kit.settings import explain
from sync_service.inspection.following import follow
from sync_service.inspection.printing import as_json, as_text
from sync_service.main import create_app
from sync_service.routes.loading import InvalidRoutes, default_routes_file, load_routes
from sync_service.settings import Settings


class InspectSettings(BaseSettings):
    """Looking on needs the broker's address and the names of the topics, and nobody's password."""

    kafka_bootstrap_servers: str = Field(default=...)
    sync_routes_file: Path = Field(default_factory=default_routes_file)


def main() -> None:
    """A configuration that isn't valid ends in one line and exit code 1."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "run":
            run()
        else:
            inspect(
                arguments.topic, from_beginning=arguments.from_beginning, limit=arguments.limit, json=arguments.json
            )
    except ValidationError as error:
        sys.exit(explain(error))
    except InvalidRoutes as error:
        sys.exit(f"error: {error}")


def run() -> None:
    settings = Settings()
    serve(create_app(settings, load_routes(settings.sync_routes_file)), service="sync-service", settings=settings)


def inspect(topics: Sequence[str], *, from_beginning: bool, limit: int | None, json: bool) -> None:
    """Print change events until Ctrl-C, or until `limit` were printed."""
    settings = InspectSettings()
    wanted = topics or [route.topic for route in load_routes(settings.sync_routes_file)]
    render = as_json if json else as_text

    async def show() -> None:
        printed = 0
        async with contextlib.aclosing(
            follow(settings.kafka_bootstrap_servers, wanted, from_beginning=from_beginning)
        ) as records:
            async for record in records:
                if (text := render(record)) is not None:
                    print(text, flush=True)
                    printed += 1
                if printed == limit:
                    return

    try:
        asyncio.run(show())
    except UnknownTopicOrPartitionError as error:
        sys.exit(f"error: {error.args[0]}")
    except KafkaError as error:
        sys.exit(f"error: the broker at {settings.kafka_bootstrap_servers} does not answer: {error}")
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sync-service", description="Applies change events to the opposite store.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="consume and apply; configured by environment variables")
    inspection = commands.add_parser("inspect", help="print change events as they pass; touches nothing")
    inspection.add_argument("--topic", action="append", default=[], help="instead of those of routes.yaml; repeatable")
    inspection.add_argument("--from-beginning", action="store_true", help="everything the broker still has, first")
    inspection.add_argument("--limit", type=int, help="end after so many events")
    inspection.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser
