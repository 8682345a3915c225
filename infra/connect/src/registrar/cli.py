"""`registrar run`, `registrar topics` and `registrar sources`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from registrar.connectors import InvalidDeclaration
from registrar.declared import DeclaredFile, declared_topics, load_declared
from registrar.main import create_app
from registrar.settings import Settings
from registrar.source_check import CheckedSource, check_sources
from registrar.topics import ensure_topics
from service_kit.kafka import KafkaClients
from service_kit.logging import configure_logging
from service_kit.seeded_file import seed_file
from service_kit.server import serve
from service_kit.settings import format_settings_error
from sync_service.routes.loader import InvalidRoutes, default_routes_file, empty_routes_file, load_routes_file

TOPICS_DEADLINE_SECONDS = 60.0
_SEEDS = {"built-in": default_routes_file, "none": empty_routes_file}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="registrar", description="Creates and repairs Tandem's topics and connectors."
    )
    parser.add_argument(
        "command",
        choices=["run", "topics", "sources"],
        help="run: create topics and connectors and repair them; topics: create the topics and exit; sources: check "
        "that Debezium can read the databases whose addresses are set, exit code 1 if not",
    )
    parser.add_argument(
        "--seed-routes",
        nargs="?",
        choices=list(_SEEDS),
        const="built-in",
        help="first copy the built-in routes, or a file without any, to SYNC_ROUTES_FILE, unless that is edited",
    )
    arguments = parser.parse_args()
    try:
        settings = Settings()
        if arguments.seed_routes:
            seed_routes(settings, arguments.seed_routes)
        if arguments.command == "run":
            routes = DeclaredFile(settings, os.environ)
            declared = load_declared(settings, os.environ)
            app = create_app(settings, declared.connectors, declared.topics, routes)
            serve(app, service="registrar", settings=settings)
        elif arguments.command == "sources":
            sys.exit(_report_sources(asyncio.run(check_sources(settings, os.environ))))
        else:
            configure_logging("registrar", settings.log_level)
            topics = declared_topics(load_routes_file(settings.sync_routes_file))
            created = asyncio.run(
                ensure_topics(
                    KafkaClients.of(settings),
                    topics,
                    replication_factor=settings.registrar_replication_factor,
                    deadline_seconds=TOPICS_DEADLINE_SECONDS,
                )
            )
            print(f"{len(topics)} topics, {len(created)} of them created")
    except ValidationError as error:
        sys.exit(format_settings_error(error))
    except InvalidRoutes as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
    except InvalidDeclaration as error:
        sys.exit(f"error: {error}")
    except TimeoutError as error:
        sys.exit(f"error: {error}")


def _report_sources(checked: Sequence[CheckedSource]) -> int:
    """The exit code."""
    if not checked:
        print("error: no source is set: set CDC_MYSQL_HOST and so on, or CDC_MONGODB_URL", file=sys.stderr)
        return 1
    for source in checked:
        if source.problem is None:
            print(f"{source.name}: prepared")
        else:
            print(f"error: {source.name}: {source.problem}", file=sys.stderr)
    return 1 if any(source.problem for source in checked) else 0


def seed_routes(settings: Settings, what: str = "built-in") -> None:
    """`what` is one of `_SEEDS`. A folder that is read-only keeps its file, if there is one."""
    try:
        if seed_file(settings.sync_routes_file, _SEEDS[what]()):
            print(f"{settings.sync_routes_file}: {'no' if what == 'none' else 'the built-in'} routes")
    except OSError as error:
        print(f"warning: {settings.sync_routes_file} is not updated: {error.strerror}", file=sys.stderr)
