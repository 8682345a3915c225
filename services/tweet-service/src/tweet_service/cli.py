"""The command `tweet-service`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from service_kit.server import serve
from service_kit.settings import format_settings_error
from tweet_service.importing.command import ImportSettings, generate_dataset, import_dataset
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
        case "generate-dataset":
            return generate_dataset(
                arguments.count, arguments.seed, arguments.output, is_canonical=arguments.is_canonical
            )
        case _:
            settings = Settings()
            app = create_app(settings)
            serve(app, service="tweet-service", settings=settings, before_shutdown=lambda: end_streams(app))
            return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tweet-service", description="Tandem's tweets.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve HTTP; configured by environment variables")

    importing = commands.add_parser(
        "import",
        help="load a dataset of tweets; needs MONGODB_URL only",
        description="Load Twitter v1.1 tweet objects, one a line or as a JSON array, gzip or not; plain JSON, or "
        "MongoDB's Extended JSON of any kind. Loading a file again changes nothing; an interrupted import is "
        "continued.",
        epilog="Exit code 0: each usable record is stored (rejected ones are counted, and told with their reason); "
        "1: there was none, or it could not be done; 130: interrupted.",
    )
    importing.add_argument("file", metavar="FILE", type=Path)
    importing.add_argument(
        "--rejects", metavar="FILE", type=Path, help="where rejected records go (FILE.rejects.ndjson beside it)"
    )
    importing.add_argument(
        "--batch",
        metavar="N",
        type=_number(1, MAX_BATCH),
        default=DEFAULT_BATCH,
        help="records at a time (%(default)s)",
    )

    generating = commands.add_parser(
        "generate-dataset",
        help="write a dataset that looks like MongoDB's sample_training.tweets",
        description="The same arguments give the same bytes.",
    )
    generating.add_argument("--count", metavar="N", type=_number(0, 10_000_000), required=True, help="of tweets")
    generating.add_argument("--seed", metavar="S", type=int, default=1, help="another one, other tweets (%(default)s)")
    generating.add_argument(
        "--output", metavar="FILE", type=Path, help="instead of the standard output; packed if it ends in .gz"
    )
    kind = generating.add_mutually_exclusive_group()
    kind.add_argument(
        "--canonical", dest="is_canonical", action="store_true", default=True, help="Extended JSON, canonical (default)"
    )
    kind.add_argument("--relaxed", dest="is_canonical", action="store_false", help="Extended JSON, relaxed")
    return parser


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number
