"""`registrar run` and `registrar topics`."""

import argparse
import asyncio
import os
import sys

from pydantic import ValidationError

from registrar.connectors import InvalidDeclaration
from registrar.declared import DeclaredFile, declared_topics, load_declared
from registrar.main import create_app
from registrar.settings import Settings
from registrar.topics import ensure_topics
from service_kit.kafka import KafkaClients
from service_kit.logging import configure_logging
from service_kit.server import serve
from service_kit.settings import format_settings_error
from sync_service.routes.loader import InvalidRoutes, load_routes_file

TOPICS_DEADLINE_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="registrar", description="Creates and repairs Tandem's topics and connectors."
    )
    parser.add_argument(
        "command",
        choices=["run", "topics"],
        help="run: create topics and connectors and repair them; topics: create the topics and exit",
    )
    command = parser.parse_args().command
    try:
        settings = Settings()
        if command == "run":
            routes = DeclaredFile(settings, os.environ)
            declared = load_declared(settings, os.environ)
            app = create_app(settings, declared.connectors, declared.topics, routes)
            serve(app, service="registrar", settings=settings)
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
