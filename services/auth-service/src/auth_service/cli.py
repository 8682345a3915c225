"""`auth-service run`."""

import argparse
import asyncio
import sys

from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from auth_service.keys.encryption import WrongSecret
from auth_service.main import create_app, prepare
from auth_service.settings import Settings
from service_kit.logging import configure_logging
from service_kit.server import serve
from service_kit.settings import explain


def main() -> None:
    parser = argparse.ArgumentParser(prog="auth-service", description="Tandem's accounts and tokens.")
    parser.add_argument("command", choices=["run"], help="run: migrate the schema, then serve")
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(explain(error))
    configure_logging("auth-service", settings.log_level)
    try:
        asyncio.run(prepare(settings))
    except (WrongSecret, TimeoutError) as error:
        sys.exit(f"error: {error}")
    except CommandError as error:
        sys.exit(f"error: the schema can't be migrated: {error}")
    except DBAPIError as error:
        sys.exit(f"error: MySQL does not answer as it should: {error.orig}")
    serve(create_app(settings), service="auth-service", settings=settings)
