"""The command `sync-service`."""

import argparse
import logging
import sys
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from service_kit.server import serve
from service_kit.settings import format_settings_error
from sync_service.change_feed.event_view import EventFilter, OperationName, operation_name
from sync_service.change_feed.inspect import InspectOptions, inspect, parse_begin
from sync_service.dead_letters.cli import list_dead_letters, resolve_dead_letters, show_dead_letter
from sync_service.dead_letters.models import DeadLetterId
from sync_service.main import create_app, end_streams
from sync_service.reconciliation import cli as reconciliation
from sync_service.routes.cli import add_routes_parser, run_routes
from sync_service.routes.loader import InvalidRoutes, load_routes
from sync_service.settings import Settings


def main() -> None:
    """A configuration that isn't valid ends in one line and exit code 1."""
    arguments = _parser().parse_args()
    if arguments.command != "run":
        _leave_the_output_to_the_command()
    try:
        match arguments.command:
            case "run":
                run()
            case "routes":
                run_routes(arguments)
            case "reconcile":
                sys.exit(reconciliation.run(arguments))
            case "dead-letters":
                sys.exit(_dead_letters(arguments))
            case _:
                inspect(_inspect_options(arguments))
    except ValidationError as error:
        sys.exit(format_settings_error(error))
    except InvalidRoutes as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))


def run() -> None:
    settings = Settings()
    app = create_app(settings, load_routes(settings.sync_routes_file))
    serve(app, service="sync-service", settings=settings, before_shutdown=lambda: end_streams(app))


def _leave_the_output_to_the_command() -> None:
    """Warnings go beside it; aiokafka's are of what the command tells in one sentence."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _inspect_options(arguments: argparse.Namespace) -> InspectOptions:
    return InspectOptions(
        topics=arguments.topic,
        routes=arguments.route,
        event_filter=EventFilter(operation=arguments.operation, key=arguments.key),
        begin="beginning" if arguments.from_beginning else arguments.since or "now",
        limit=arguments.limit,
        as_json=arguments.json,
    )


def _dead_letters(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "list":
            return list_dead_letters(route=arguments.route, limit=arguments.limit, as_json=arguments.json)
        case "show":
            return show_dead_letter(arguments.id, as_json=arguments.json)
        case action:
            return resolve_dead_letters(action, arguments.id, everything=arguments.all, route=arguments.route)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sync-service", description="Applies change events to the opposite store.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run",
        help="consume and apply; configured by environment variables",
        epilog="Exit code 65: too many dead letters; 70: it could not go on, start it again.",
    )
    _add_inspect(commands.add_parser("inspect", help="print change events as they pass; touches nothing"))
    _add_dead_letters(commands.add_parser("dead-letters", help="events that could not be applied"))
    add_routes_parser(commands)
    reconciliation.add_to(commands)
    return parser


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", action="append", default=[], help="instead of those of routes.yaml; repeatable")
    parser.add_argument("--route", action="append", default=[], help="the topic of this route; repeatable")
    parser.add_argument("--operation", type=_operation, help="create, update, delete or read (of a snapshot)")
    parser.add_argument("--key", help="only of the row with this value in its key")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--from-beginning", action="store_true", help="everything the broker still has, first")
    begin.add_argument("--since", metavar="TIME", type=_moment, help="from then on: 2026-01-31T12:00:00Z, or 10m ago")
    parser.add_argument("--limit", type=_count, help="end after so many events")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_dead_letters(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="those that are open, the oldest first")
    listing.add_argument("--route", help="only those of this route")
    listing.add_argument("--limit", type=_count, default=100, help="so many (%(default)s)")
    showing = actions.add_parser("show", help="one, with all that came")
    showing.add_argument("id", metavar="ID", type=_letter_id)
    for action in (listing, showing):
        action.add_argument("--json", action="store_true", help="one JSON object a line")
    for name, told in (("retry", "try again by the routes as they are now"), ("discard", "put aside")):
        settling = actions.add_parser(name, help=told, epilog="Exit code 1: not every one of them is done with.")
        which = settling.add_mutually_exclusive_group(required=True)
        which.add_argument("id", metavar="ID", type=_letter_id, nargs="*", default=[], help="as `list` shows it")
        which.add_argument("--all", action="store_true", help="all that are open")
        settling.add_argument("--route", help="with --all: only those of this route")


def _letter_id(text: str) -> DeadLetterId:
    if (parsed := DeadLetterId.of(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no id; they look like 0-17")
    return parsed


def _operation(text: str) -> OperationName:
    if (name := operation_name(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is none of create, update, delete and read")
    return name


def _moment(text: str) -> datetime:
    try:
        return parse_begin(text, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a time nor so long ago as in 10m") from error


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
