"""`sync-service routes add | check | list | explain | migrate | pause | reload | resume | drop`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from aiokafka.errors import KafkaError
from pydantic import Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import KafkaSettings
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.seeded_file import record_of
from service_kit.settings import EnvironmentSettings
from sync_service.arguments import partition_offset, positive_number
from sync_service.endings import run_to_end
from sync_service.kafka.stops import Stops
from sync_service.routes.add_command import add_add_parser, run_add
from sync_service.routes.changes import RouteChanges
from sync_service.routes.check import Finding, refused_events, refused_targets, static_findings
from sync_service.routes.config import Route
from sync_service.routes.drop import EditByHand, NotDropped, NotFinished, RouteDropper, RoutesText
from sync_service.routes.explain import NotAnEvent, explain_event
from sync_service.routes.listing import add_arguments as add_list_arguments
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.routes.pause import PAUSE_SECONDS, RoutePauser, pause_seconds
from sync_service.routes.protection import HashSecret
from sync_service.routes.reload_cli import reload_routes
from sync_service.routes.resume import EventsToPass, RouteResumer
from sync_service.routes.yaml_lines import read_yaml
from sync_service.sinks.base import Unavailable, UnfitTable
from sync_service.sinks.mongodb.databases import database_of_address
from sync_service.sinks.mysql.errors import start_problem
from sync_service.sinks.mysql.schema import require_grants, require_separate_schema
from sync_service.sinks.mysql.sink import engine_for_sinks
from sync_service.sinks.registry import change_schemas, drop_copy


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


class OperationSettings(KafkaSettings):
    """The schema and the consumer group of the running service, and the broker."""

    mysql_url: MysqlAddress
    sync_group_id: str = "sync-service"
    sync_session_timeout_ms: int = 6000
    sync_routes_file: Path = Field(default_factory=default_routes_file)


class DropSettings(RoutesSettings):
    """The server of a copy in MongoDB."""

    mongodb_url: MongodbAddress | None = None


def add_routes_parser(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """Returns the parsers of the actions: some are elsewhere."""
    routes = commands.add_parser("routes", help="add, check, list and try out routes, and create their tables")
    actions = routes.add_subparsers(dest="action", required=True)
    add_add_parser(actions)
    check = actions.add_parser(
        "check",
        help="report errors with their lines; exit code 1 if there are any",
        description="Reports the errors of the file. With MYSQL_URL it also asks MySQL whether it takes each table, by "
        "creating one and dropping it; with KAFKA_BOOTSTRAP_SERVERS it reads the newest events of each topic.",
    )
    check.add_argument("--offline", action="store_true", help="check the file only, and ask no server")
    # `routes.listing` runs it.
    add_list_arguments(actions.add_parser("list", help="print the routes with their states"))
    explain = actions.add_parser(
        "explain", help="print how an event is mapped; exit code 1 if it would be a dead letter"
    )
    explain.add_argument(
        "event",
        help='a file (- is standard input) with {"key": …, "value": …}, a value alone, or a line of inspect --json',
    )
    migrate = actions.add_parser("migrate", help="print the DDL that MySQL needs for the routes")
    migrate.add_argument("--apply", action="store_true", help="execute the DDL, too")
    pause = actions.add_parser(
        "pause",
        help="pause routes, and wait until no process applies their events",
        description="A pause holds for all processes and across restarts, until a resume. The events wait in Kafka, as "
        "long as their topic keeps them.",
        epilog="Exit code 1: the routes are paused, but it is not certain that a process, which is named, applies no "
        "more events. Pause again.",
    )
    pause.add_argument("names", metavar="NAME", nargs="+", help="the name of a route")
    pause.add_argument(
        "--timeout",
        type=positive_number,
        metavar="SECONDS",
        help=f"the longest time to wait ({PAUSE_SECONDS}, or more with a longer SYNC_SESSION_TIMEOUT_MS)",
    )
    drop = actions.add_parser(
        "drop",
        help="remove a route from the file, and drop its copy",
        description="Drops the copy of the route, removes the route from SYNC_ROUTES_FILE, and deletes what MySQL "
        "keeps about it. The topic stays, and so does its pause; when every process has taken over the file, the "
        "same command deletes that. The route must be paused, or the service stopped.",
        epilog="Exit code 1: not done; repeat it when the reason is gone. 2: confirm it with --yes. 3: the file is "
        "read-only, and nothing is dropped; the output says what to remove from it.",
    )
    drop.add_argument("name", metavar="NAME", help="the name of the route")
    drop.add_argument("--keep-copy", action="store_true", help="keep the table or collection, and its view")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    actions.add_parser(
        "reload",
        help="wait until the running service has a changed file in force; exit code 1 if the file is wrong",
        description="Checks the file, and waits until the service at SYNC_URL (by default the local port PORT) has "
        "taken it over.",
    )
    resume = actions.add_parser(
        "resume",
        help="start stopped or paused routes again",
        epilog="Exit code 1: a route is not stopped, or an offset is wrong.",
    )
    resume.add_argument("names", metavar="NAME", nargs="+", help="the name of a route")
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
    return actions


def run_routes(arguments: argparse.Namespace) -> None:
    """Raises `InvalidRoutes` and `SourceSchema`. Any other error ends the program with one sentence."""
    match arguments.action:
        case "add":
            sys.exit(run_add(arguments))
        case "check":
            _check(offline=arguments.offline)
        case "explain":
            _explain(arguments.event)
        case "migrate":
            _migrate(apply=arguments.apply)
        case "pause":
            _pause(arguments.names, arguments.timeout)
        case "drop":
            _drop(arguments.name, keep_copy=arguments.keep_copy, is_confirmed=arguments.yes)
        case "reload":
            reload_routes()
        case "resume":
            _resume(arguments.names, arguments.skip_to, arguments.discard_to)


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
    print_findings(file, findings)
    for server in unasked:
        print(f"warning: not asked: {server}", file=sys.stderr)
    for note in _differences_from_built_in(file, routes):
        print(f"note: {file}: {note}", file=sys.stderr)
    if not all(finding.is_doubt for finding in findings):
        sys.exit(1)
    print(f"{file}: {len(routes)} routes, nothing wrong")


def print_findings(file: Path, findings: Iterable[Finding]) -> None:
    """On stderr, with the lines of the file."""
    document = read_yaml(file.read_text(encoding="utf-8"))
    for finding in sorted(findings, key=lambda each: document.line([each.route, each.field])):
        place = f"{file}:{document.line([finding.route, finding.field])}: route {finding.route}: {finding.field}"
        print(f"{'warning' if finding.is_doubt else 'error'}: {place}: {finding.reason}", file=sys.stderr)


def _differences_from_built_in(file: Path, routes: Sequence[Route]) -> list[str]:
    """Of an edited copy of the built-in file, which does not follow later releases any more."""
    if not record_of(file).exists():
        return []
    built_in = load_routes(default_routes_file(), needs_secret=False)
    if not {route.name for route in built_in} & {route.name for route in routes}:
        # The file began without routes.
        return []
    changes = RouteChanges.between(built_in, routes)
    return [
        *(f"the built-in route {name} is not in the file" for name in changes.removed),
        *(f"route {name} differs from the built-in one" for name in changes.changed),
    ]


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
    address = settings.mysql_url.get_secret_value()
    require_separate_schema(address, routes)

    async def change() -> Sequence[str]:
        await require_grants(address)
        return await change_schemas(address, routes, apply=apply)

    try:
        statements = asyncio.run(change())
    except DBAPIError as error:
        sys.exit(f"error: {start_problem(error)}")
    except (UnfitTable, Unavailable, TimeoutError, OSError) as error:
        sys.exit(f"error: {error}")
    for statement in statements:
        print(f"{statement};")
    if not statements:
        print("-- nothing is missing")


def _pause(names: Sequence[str], seconds: int | None) -> None:
    operation = _Operation.of_environment(names)

    async def pause(stops: Stops, engine: AsyncEngine) -> None:
        pauser = operation.pauser(stops, engine)
        await pauser.pause(operation.routes, by=_caller(), seconds=seconds)

    operation.run(pause)
    for name in names:
        print(f"{name} is paused: no process applies its events")


def _resume(names: Sequence[str], skip_to: Sequence[tuple[int, int]], discard_to: Sequence[tuple[int, int]]) -> None:
    operation = _Operation.of_environment(names)
    partitions = [partition for partition, _ in (*skip_to, *discard_to)]
    if len(partitions) != len(set(partitions)):
        sys.exit("error: name each partition once")
    if partitions and len(names) > 1:
        sys.exit("error: --skip-to and --discard-to are for a single route")
    events = EventsToPass(dict(skip_to), dict(discard_to))

    async def resume(stops: Stops, _engine: AsyncEngine) -> None:
        resumer = RouteResumer(operation.kafka, operation.group_id, stops)
        for route in operation.routes:
            for stop in await resumer.resume(route, events, by=_caller()):
                print(f"{route.name} was {stop}" if stop.is_pause else f"{route.name} was stopped: {stop}")
            print(f"{route.name} continues within a few seconds", flush=True)

    operation.run(resume)


def _drop(name: str, *, keep_copy: bool, is_confirmed: bool) -> None:
    settings = DropSettings()
    if name not in {route.name for route in load_routes(settings.sync_routes_file, needs_secret=False)}:
        _finish_drop(name)
        return
    operation = _Operation.of_environment([name])
    (route,) = operation.routes
    address, target = settings.mongodb_url, route.target
    keeps = keep_copy or any(
        each.target.store == target.store and each.target.place == target.place for each in operation.others
    )
    copy = f"{target.store} {target.place}, which {'stays' if keeps else 'is dropped'}"
    try:
        file = RoutesText.of(settings.sync_routes_file, name, may_write="sync_routes_file" in settings.model_fields_set)
        if not is_confirmed:
            _confirm(f"Drop the route {name} of {copy}", name)

        async def drop(stops: Stops, engine: AsyncEngine) -> None:
            urls = (operation.mysql_url, "" if address is None else address.get_secret_value())
            pauser = operation.pauser(stops, engine)
            dropping = None if keeps else partial(drop_copy, *urls, route)
            await RouteDropper(engine, stops).drop(route, file, dropping, pauser=pauser, by=_caller())

        operation.run(drop)
    except EditByHand as error:
        print(f"error: {error} Nothing is dropped.", file=sys.stderr)
        sys.exit(3)
    except (NotDropped, NotFinished, UnfitTable, TimeoutError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{name} is dropped; its copy is {copy}. The topic {route.topic} stays, and so does its pause: repeat the "
        "command when every process has taken over the file"
    )


def _finish_drop(name: str) -> None:
    operation = _Operation.of_environment([])

    async def finish(stops: Stops, engine: AsyncEngine) -> None:
        others = {route.topic for route in operation.others}
        if not await RouteDropper(engine, stops).finish(name, others):
            sys.exit(f"error: there is no route {name}, and nothing is left of one")

    try:
        operation.run(finish)
    except NotDropped as error:
        sys.exit(f"error: {error}")
    print(f"{name} was dropped; nothing is left of it")


def _confirm(question: str, name: str) -> None:
    """Ends the program without a confirmation."""
    if not sys.stdin.isatty():
        print(f"{question}: confirm it with --yes", file=sys.stderr)
        sys.exit(2)
    if input(f"{question}? Type its name to confirm: ") != name:
        sys.exit("Nothing is dropped")


def _caller() -> str:
    return f"command line ({os.environ.get('USER') or os.getuid()})"


@dataclass(frozen=True, slots=True)
class _Operation:
    """What is to be done with these routes of the running service. `others` are the other routes of the file."""

    routes: Sequence[Route]
    others: Sequence[Route]
    mysql_url: str
    kafka: KafkaClients
    group_id: str
    pause_seconds: float

    @classmethod
    def of_environment(cls, names: Sequence[str]) -> Self:
        """Ends the program if there is no route of one of these names. Raises `InvalidRoutes` and `SourceSchema`."""
        settings = OperationSettings()
        routes = load_routes(settings.sync_routes_file, needs_secret=False)
        address = settings.mysql_url.get_secret_value()
        require_separate_schema(address, routes)
        known = {route.name: route for route in routes}
        if unknown := [name for name in names if name not in known]:
            sys.exit(f"error: there is no route {unknown[0]}")
        chosen = [known[name] for name in dict.fromkeys(names)]
        others = [route for route in routes if route not in chosen]
        seconds = pause_seconds(settings.sync_session_timeout_ms)
        return cls(chosen, others, address, KafkaClients.of(settings), settings.sync_group_id, seconds)

    def pauser(self, stops: Stops, engine: AsyncEngine) -> RoutePauser:
        return RoutePauser(self.kafka, self.group_id, stops, engine, seconds=self.pause_seconds)

    def run(self, work: Callable[[Stops, AsyncEngine], Awaitable[None]]) -> None:
        """An error ends the program with one sentence."""

        async def with_engine() -> None:
            engine = engine_for_sinks(self.mysql_url, pool_size=1)
            try:
                await work(Stops(engine), engine)
            finally:
                await engine.dispose()

        run_to_end(with_engine(), self.kafka)
