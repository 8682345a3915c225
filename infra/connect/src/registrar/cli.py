"""`registrar run` and `registrar topics`."""

import argparse
import asyncio
import os
import sys

from pydantic import ValidationError

from registrar.connectors import InvalidDeclaration, declarations_folder, load_connectors
from registrar.main import create_app
from registrar.settings import Settings
from registrar.topics import ensure_topics, load_topics
from service_kit.kafka import KafkaClients
from service_kit.logging import configure_logging
from service_kit.server import serve
from service_kit.settings import format_settings_error

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
        topics = load_topics(declarations_folder() / "topics.yaml")
        if command == "run":
            variables = {**os.environ, "REGISTRAR_REPLICATION_FACTOR": str(settings.registrar_replication_factor)}
            declared = load_connectors(declarations_folder() / "connectors", variables)
            connectors = [each.secured(settings).sized(settings.kafka_max_record_bytes) for each in declared]
            if settings.connect_exactly_once:
                connectors = [each.exactly_once() for each in connectors]
            serve(create_app(settings, connectors, topics), service="registrar", settings=settings)
        else:
            configure_logging("registrar", settings.log_level)
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
    except InvalidDeclaration as error:
        sys.exit(f"error: {error}")
    except TimeoutError as error:
        sys.exit(f"error: {error}")
