"""The command `tweet-service`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from service_kit.server import serve
from service_kit.settings import format_settings_error
from tweet_service.importing.command import ImportSettings, import_dataset
from tweet_service.importing.service import DEFAULT_BATCH
from tweet_service.main import create_app, end_streams
from tweet_service.settings import Settings

MAX_BATCH = 10_000


def main() -> None:
    """Run one command. A configuration that isn't valid ends in one line and exit code 1."""
    arguments = _parser().parse_args()
    try:
        sys.exit(_run(arguments))
    except ValidationError as error:
        sys.exit(format_settings_error(error))


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "import":
            return import_dataset(arguments.file, arguments.rejects, arguments.batch, ImportSettings())
        case _:
            settings = Settings()
            app = create_app(settings)
            serve(app, service="tweet-service", settings=settings, before_shutdown=lambda: end_streams(app))
            return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tweet-service", description="Tandem: tweets.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve HTTP; environment variables configure it")

    importing = commands.add_parser(
        "import",
        help="import a dataset of tweets; needs MONGODB_URL only",
        description="Import tweet objects of Twitter's API v1.1: one per line or a JSON array, optionally gzipped, as "
        "plain JSON or MongoDB's Extended JSON (canonical, relaxed, legacy). Importing a file again changes "
        "nothing; an interrupted import continues.",
        epilog="Exit code 0: all valid records are stored (rejected ones are counted and written to a file with the "
        "reason); 1: there was no valid record, or the import failed; 130: interrupted.",
    )
    importing.add_argument("file", metavar="FILE", type=Path)
    importing.add_argument(
        "--rejects",
        metavar="FILE",
        type=Path,
        help="file for rejected records (default: FILE.rejects.ndjson)",
    )
    importing.add_argument(
        "--batch",
        metavar="N",
        type=_number(1, MAX_BATCH),
        default=DEFAULT_BATCH,
        help="records per transaction (default: %(default)s)",
    )
    return parser


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number
