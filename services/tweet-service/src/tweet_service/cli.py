"""The command `tweet-service`."""

import argparse
import sys

from pydantic import ValidationError

from service_kit.server import serve
from service_kit.settings import explain
from tweet_service.main import create_app
from tweet_service.settings import Settings


def main() -> None:
    """Parse the command line. A configuration that isn't valid ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="tweet-service", description="Tandem's tweets.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve HTTP; configured by environment variables")
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(explain(error))
    serve(create_app(settings), service="tweet-service", settings=settings)
