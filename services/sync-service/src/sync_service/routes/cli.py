"""`sync-service routes check | list | explain | migrate`."""

import argparse
import asyncio
import sys
from pathlib import Path

from pydantic import Field
from sqlalchemy.exc import DBAPIError

from service_kit.mysql import MysqlAddress
from service_kit.settings import EnvironmentSettings
from sync_service.routes.config import Route
from sync_service.routes.explain import NotAnEvent, explain_event
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.sinks.base import UnfitTable
from sync_service.sinks.mysql.schema import require_separate_schema
from sync_service.sinks.registry import change_schemas


class RoutesSettings(EnvironmentSettings):
    """The file of the routes."""

    sync_routes_file: Path = Field(default_factory=default_routes_file)


class MigrationSettings(RoutesSettings):
    mysql_url: MysqlAddress = Field(default=...)


def add_routes_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    routes = commands.add_parser("routes", help="check, list and try out routes.yaml, and create its tables")
    actions = routes.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="report errors with their lines; exit code 1 if there are any")
    actions.add_parser("list", help="print a table of the routes")
    explain = actions.add_parser(
        "explain", help="print how an event is mapped; exit code 1 if it would be a dead letter"
    )
    explain.add_argument(
        "event",
        help='a file (- is standard input) with {"key": …, "value": …}, a value alone, or a line of inspect --json',
    )
    migrate = actions.add_parser("migrate", help="print the DDL that MySQL needs for the routes")
    migrate.add_argument("--apply", action="store_true", help="execute the DDL, too")


def run_routes(arguments: argparse.Namespace) -> None:
    """Raises `InvalidRoutes` and `SourceSchema`. Any other error ends the program with one sentence."""
    match arguments.action:
        case "check":
            file = RoutesSettings().sync_routes_file
            print(f"{file}: {len(load_routes(file))} routes, nothing wrong")
        case "list":
            print(table(load_routes(RoutesSettings().sync_routes_file)))
        case "explain":
            _explain(arguments.event)
        case "migrate":
            _migrate(apply=arguments.apply)


def table(routes: list[Route]) -> str:
    """One line for each route, in columns."""
    rows = [("ROUTE", "TOPIC", "TARGET", "KEY", "FIELDS")]
    rows += [
        (
            route.name,
            route.topic,
            f"{route.target.store} {route.target.place}",
            ", ".join(route.key),
            ", ".join(route.fields),
        )
        for route in routes
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _explain(file: str) -> None:
    routes = load_routes(RoutesSettings().sync_routes_file)
    try:
        written = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        explanation = explain_event(written, routes)
    except (OSError, UnicodeDecodeError, NotAnEvent) as error:
        sys.exit(f"error: {file}: {error}")
    print(explanation)
    if not explanation.is_applicable:
        sys.exit(1)


def _migrate(*, apply: bool) -> None:
    settings = MigrationSettings()
    routes = load_routes(settings.sync_routes_file)
    require_separate_schema(settings.mysql_url.get_secret_value(), routes)
    try:
        statements = asyncio.run(change_schemas(settings.mysql_url.get_secret_value(), routes, apply=apply))
    except DBAPIError as error:
        sys.exit(f"error: MySQL: {error.orig}")
    except (UnfitTable, TimeoutError, OSError) as error:
        sys.exit(f"error: {error}")
    for statement in statements:
        print(f"{statement};")
    if not statements:
        print("-- nothing is missing")
