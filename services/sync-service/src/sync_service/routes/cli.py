"""`sync-service routes check | list | explain | migrate | resume`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from aiokafka.errors import KafkaError
from pydantic import Field

from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import KafkaSettings
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.problems import Problem
from service_kit.settings import EnvironmentSettings
from sync_service.arguments import partition_offset
from sync_service.kafka.stops import Stop, Stops
from sync_service.routes.check import Finding, refused_events, refused_targets, static_findings
from sync_service.routes.config import Route
from sync_service.routes.explain import NotAnEvent, explain_event
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.routes.protection import HashSecret
from sync_service.routes.resume import EventsToPass, RouteResumer
from sync_service.routes.yaml_lines import read_yaml
from sync_service.sinks.base import Unavailable, UnfitTable
from sync_service.sinks.mongodb.databases import database_of_address
from sync_service.sinks.mysql.schema import require_separate_schema
from sync_service.sinks.mysql.sink import engine_for_sinks
from sync_service.sinks.registry import change_schemas


class RoutesSettings(EnvironmentSettings):
    """The file of the routes."""

    sync_routes_file: Path = Field(default_factory=default_routes_file)
    sync_hash_secret: HashSecret = None


class CheckSettings(RoutesSettings):
    """Servers to ask, if they are given."""

    mysql_url: MysqlAddress | None = None
    # Not asked: only its database is of interest.
    mongodb_url: MongodbAddress | None = None
    kafka_bootstrap_servers: str = ""


class MigrationSettings(RoutesSettings):
    mysql_url: MysqlAddress = Field(default=...)


class ResumeSettings(KafkaSettings):
    """The schema and the consumer group of the running service, and the broker."""

    mysql_url: MysqlAddress
    sync_group_id: str = "sync-service"
    sync_routes_file: Path = Field(default_factory=default_routes_file)


def add_routes_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    routes = commands.add_parser("routes", help="check, list and try out routes.yaml, and create its tables")
    actions = routes.add_subparsers(dest="action", required=True)
    check = actions.add_parser(
        "check",
        help="report errors with their lines; exit code 1 if there are any",
        description="Reports the errors of the file. With MYSQL_URL it also asks MySQL whether it takes each table, by "
        "creating one and dropping it; with KAFKA_BOOTSTRAP_SERVERS it reads the newest events of each topic.",
    )
    check.add_argument("--offline", action="store_true", help="check the file only, and ask no server")
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
    resume = actions.add_parser(
        "resume",
        help="start a stopped route again",
        epilog="Exit code 1: the route is not stopped, or an offset is wrong.",
    )
    resume.add_argument("name", metavar="NAME", help="the name of the route")
    for option, description in (
        ("--skip-to", "skip the events of a partition before this offset; the copy is in doubt until a reconcile"),
        ("--discard-to", "discard the events of a partition before this offset: each becomes a discarded dead letter"),
    ):
        resume.add_argument(
            option,
            metavar="PARTITION:OFFSET",
            type=partition_offset,
            action="append",
            default=[],
            help=f"{description}; repeatable",
        )


def run_routes(arguments: argparse.Namespace) -> None:
    """Raises `InvalidRoutes` and `SourceSchema`. Any other error ends the program with one sentence."""
    match arguments.action:
        case "check":
            _check(offline=arguments.offline)
        case "list":
            print(table(load_routes(RoutesSettings().sync_routes_file, needs_secret=False)))
        case "explain":
            _explain(arguments.event)
        case "migrate":
            _migrate(apply=arguments.apply)
        case "resume":
            _resume(arguments.name, arguments.skip_to, arguments.discard_to)


def _check(*, offline: bool) -> None:
    settings = CheckSettings()
    file = settings.sync_routes_file
    routes = load_routes(file, needs_secret=False)
    mongodb = settings.mongodb_url
    database = None if mongodb is None else database_of_address(mongodb.get_secret_value())
    findings = static_findings(routes, database)
    unasked: list[str] = []
    if not offline:
        asked, unasked = asyncio.run(_ask(settings, routes))
        # The declaration says the same, with a better reason.
        known = {finding.route for finding in findings if not finding.is_doubt}
        findings += [each for each in asked if each.route not in known]
    document = read_yaml(file.read_text(encoding="utf-8"))
    for finding in sorted(findings, key=lambda each: document.line([each.route, each.field])):
        place = f"{file}:{document.line([finding.route, finding.field])}: route {finding.route}: {finding.field}"
        print(f"{'warning' if finding.is_doubt else 'error'}: {place}: {finding.reason}", file=sys.stderr)
    for server in unasked:
        print(f"warning: not asked: {server}", file=sys.stderr)
    if not all(finding.is_doubt for finding in findings):
        sys.exit(1)
    print(f"{file}: {len(routes)} routes, nothing wrong")


async def _ask(settings: CheckSettings, routes: Sequence[Route]) -> tuple[list[Finding], list[str]]:
    """What the servers say, and why some could not be asked."""
    findings: list[Finding] = []
    unasked = []
    if settings.mysql_url is not None:
        address = settings.mysql_url.get_secret_value()
        require_separate_schema(address, routes)
        try:
            findings += await refused_targets(address, routes)
        except (Unavailable, OSError) as error:
            unasked.append(str(error))
    if settings.kafka_bootstrap_servers:
        kafka = KafkaClients.of(KafkaSettings())
        try:
            findings += await refused_events(kafka, routes)
        except KafkaError as error:
            unasked.append(f"Kafka: {await kafka.explain(error)}")
    return findings, unasked


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
    settings = RoutesSettings()
    routes = load_routes(settings.sync_routes_file, settings.sync_hash_secret)
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
    routes = load_routes(settings.sync_routes_file, needs_secret=False)
    require_separate_schema(settings.mysql_url.get_secret_value(), routes)
    try:
        statements = asyncio.run(change_schemas(settings.mysql_url.get_secret_value(), routes, apply=apply))
    except (UnfitTable, Unavailable, TimeoutError, OSError) as error:
        sys.exit(f"error: {error}")
    for statement in statements:
        print(f"{statement};")
    if not statements:
        print("-- nothing is missing")


def _resume(name: str, skip_to: Sequence[tuple[int, int]], discard_to: Sequence[tuple[int, int]]) -> None:
    settings = ResumeSettings()
    routes = load_routes(settings.sync_routes_file, needs_secret=False)
    require_separate_schema(settings.mysql_url.get_secret_value(), routes)
    route = next((route for route in routes if route.name == name), None)
    if route is None:
        sys.exit(f"error: there is no route {name}")
    partitions = [partition for partition, _ in (*skip_to, *discard_to)]
    if len(partitions) != len(set(partitions)):
        sys.exit("error: name each partition once")
    kafka = KafkaClients.of(settings)

    async def resume() -> Sequence[Stop]:
        engine = engine_for_sinks(settings.mysql_url.get_secret_value(), pool_size=1)
        try:
            resumer = RouteResumer(kafka, settings.sync_group_id, Stops(engine))
            events = EventsToPass(dict(skip_to), dict(discard_to))
            return await resumer.resume(route, events, by=f"command line ({os.environ.get('USER') or os.getuid()})")
        finally:
            await engine.dispose()

    try:
        stops = asyncio.run(resume())
    except Problem as error:
        sys.exit(f"error: {error.detail}")
    except Unavailable as error:
        sys.exit(f"error: {error}")
    except KafkaError as error:
        sys.exit(f"error: {asyncio.run(kafka.explain(error))}")
    for stop in stops:
        print(f"{name} was stopped: {stop}")
    print(f"{name} continues within a few seconds")
