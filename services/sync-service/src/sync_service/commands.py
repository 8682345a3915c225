"""All commands of `sync-service`."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from service_kit.server import serve
from service_kit.settings import format_settings_error
from sync_service.arguments import positive_number
from sync_service.change_feed.event_view import EventFilter, operation_name
from sync_service.change_feed.inspect import InspectOptions, inspect, parse_begin
from sync_service.dead_letters.cli import list_dead_letters, resolve_dead_letters, show_dead_letter
from sync_service.dead_letters.models import DeadLetterId
from sync_service.debezium.envelope import OperationName
from sync_service.doctor.cli import add_arguments as add_doctor_arguments
from sync_service.main import create_app, end_streams, request_reload
from sync_service.planning import cli as planning
from sync_service.reconciliation import backfill, resnapshot
from sync_service.reconciliation import cli as reconciliation
from sync_service.routes.cli import add_routes_parser, run_routes
from sync_service.routes.loader import InvalidRoutes, load_routes
from sync_service.settings import Settings
from sync_service.sinks.mysql.schema import SourceSchema, require_separate_schema

# The actions of `routes` that read rows or events.
_ROWS_OF_ROUTES: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "backfill": backfill.run,
    "plan": planning.run,
    "resnapshot": resnapshot.run,
}


def main() -> None:
    """An invalid configuration ends the command with one line and exit code 1."""
    arguments = _parser().parse_args()
    if arguments.command != "run":
        _leave_the_output_to_the_command()
        _use_the_variables_of_the_stack()
    try:
        match arguments.command:
            case "run":
                run()
            case "routes" if (run_action := _ROWS_OF_ROUTES.get(arguments.action)) is not None:
                sys.exit(run_action(arguments))
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
    except SourceSchema as error:
        sys.exit(f"error: {error}")
    except InvalidRoutes as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))


def run() -> None:
    settings = Settings()
    routes = load_routes(settings.sync_routes_file, settings.sync_hash_secret)
    require_separate_schema(settings.mysql_url.get_secret_value(), routes)
    app = create_app(settings, routes)
    serve(
        app,
        service="sync-service",
        settings=settings,
        before_shutdown=lambda: end_streams(app),
        on_hangup=lambda: request_reload(app),
    )


def _leave_the_output_to_the_command() -> None:
    """Warnings go to stderr. Those of drivers are dropped: the command reports errors in one sentence each.

    asyncmy also logs the notes of MySQL, such as those of EXPLAIN.
    """
    for driver in ("aiokafka", "asyncmy"):
        logging.getLogger(driver).setLevel(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _use_the_variables_of_the_stack() -> None:
    """In `.stack/env`, MYSQL_URL is that of auth-service, and ours is SYNC_MYSQL_URL."""
    if address := os.environ.get("SYNC_MYSQL_URL"):
        os.environ["MYSQL_URL"] = address


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
        epilog="SIGHUP: read the routes file again. Exit code 70: a failure that a restart may solve.",
    )
    _add_inspect(commands.add_parser("inspect", help="print change events as they arrive; changes nothing"))
    _add_dead_letters(commands.add_parser("dead-letters", help="events that could not be applied"))
    of_routes = add_routes_parser(commands)
    backfill.add_to(of_routes)
    resnapshot.add_to(of_routes)
    planning.add_to(of_routes)
    reconciliation.add_to(commands)
    # `doctor.cli` runs it.
    add_doctor_arguments(commands.add_parser("doctor", help="check every precondition, and name the remedies"))
    return parser


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topic", action="append", default=[], help="read this topic instead of those of routes.yaml; repeatable"
    )
    parser.add_argument("--route", action="append", default=[], help="read the topic of this route; repeatable")
    parser.add_argument("--operation", type=_operation, help="create, update, delete or read (of a snapshot)")
    parser.add_argument("--key", help="only events of the row with this value in its key")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--from-beginning", action="store_true", help="start with the oldest events that the broker has")
    begin.add_argument(
        "--since",
        metavar="TIME",
        type=_moment,
        help="start at this time: 2026-01-31T12:00:00Z, or 10m for ten minutes ago",
    )
    parser.add_argument("--limit", type=positive_number, help="stop after this number of events")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def _add_dead_letters(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="list the open ones, the oldest first")
    listing.add_argument("--route", help="only dead letters of this route")
    listing.add_argument("--limit", type=positive_number, default=100, help="at most this number (%(default)s)")
    showing = actions.add_parser("show", help="show one with its key, value and headers")
    showing.add_argument("id", metavar="ID", type=_letter_id)
    for action in (listing, showing):
        action.add_argument("--json", action="store_true", help="print one JSON object per line")
    for name, description in (
        ("retry", "apply again with the current routes"),
        ("discard", "discard without applying"),
    ):
        resolving = actions.add_parser(name, help=description, epilog="Exit code 1: at least one is still open.")
        which = resolving.add_mutually_exclusive_group(required=True)
        which.add_argument("id", metavar="ID", type=_letter_id, nargs="*", default=[], help="as shown by `list`")
        which.add_argument("--all", action="store_true", help="all open dead letters")
        resolving.add_argument("--route", help="with --all: only dead letters of this route")


def _letter_id(text: str) -> DeadLetterId:
    if (parsed := DeadLetterId.of(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a dead letter id such as 0-17")
    return parsed


def _operation(text: str) -> OperationName:
    if (name := operation_name(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be create, update, delete or read")
    return name


def _moment(text: str) -> datetime:
    try:
        return parse_begin(text, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a time such as 2026-01-31T12:00:00Z, or an age such as 10m"
        ) from error
