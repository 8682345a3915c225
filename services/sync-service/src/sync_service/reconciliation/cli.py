"""The command `sync-service reconcile`, with text for a terminal and JSON for programs."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.error_texts import error_reason, traceback_text
from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import KafkaSettings
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.settings import format_settings_error
from sync_service.arguments import positive_number
from sync_service.endings import INTERRUPTED
from sync_service.kafka import gaps
from sync_service.kafka.stops import Stops
from sync_service.reconciliation.compare import (
    DEFAULT_REPAIRS_LEAST,
    DEFAULT_REPAIRS_MOST,
    DEFAULT_REPAIRS_SHARE,
    ROWS_IN_A_RANGE,
    Comparison,
    ComparisonOptions,
)
from sync_service.reconciliation.progress import ProgressReporter, reporting_progress
from sync_service.reconciliation.reports import RouteReport, as_json, as_text
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, default_routes_file, load_routes
from sync_service.routes.protection import HashSecret
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.schema import SourceSchema, require_separate_schema
from sync_service.sinks.registry import ComparisonStores
from sync_service.sinks.rows import CannotCompare

IN_AGREEMENT, DIFFERENT, NOT_COMPARED = 0, 1, 2
PATIENCE_SECONDS = 30


class ReconcileSettings(KafkaSettings):
    """Both databases with the accounts of the sync, and the broker, which has the progress of the sync."""

    mysql_url: MysqlAddress
    mongodb_url: MongodbAddress
    sync_group_id: str = "sync-service"
    sync_routes_file: Path = Field(default_factory=default_routes_file)
    sync_hash_secret: HashSecret = None


@dataclass(frozen=True, slots=True)
class ReconcileOptions:
    """`routes` are names; without any, all routes are compared."""

    routes: Sequence[str]
    comparison: ComparisonOptions
    json: bool = False
    patience: float = PATIENCE_SECONDS


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("reconcile", help="compare the copies with their sources, and repair them on request")
    parser.add_argument("--route", action="append", default=[], help="compare only this route; repeatable")
    parser.add_argument("--repair", action="store_true", help="repair the copies; newer rows are never overwritten")
    parser.add_argument(
        "--max-repairs",
        type=positive_number,
        metavar="N",
        help=f"with --repair: change nothing in a copy if more rows would change (default: "
        f"{DEFAULT_REPAIRS_SHARE:.0%}% of the compared rows, at least {DEFAULT_REPAIRS_LEAST}, at most "
        f"{DEFAULT_REPAIRS_MOST:,})",
    )
    parser.add_argument(
        "--sample",
        type=positive_number,
        metavar="N",
        help=f"compare only N random ranges of {ROWS_IN_A_RANGE} rows each",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the report as JSON, and the progress as JSON lines on stderr"
    )
    parser.add_argument(
        "--patience",
        type=positive_number,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help="give up after this time without progress of the sync (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    comparison = ComparisonOptions(repair=arguments.repair, sample=arguments.sample, max_repairs=arguments.max_repairs)
    options = ReconcileOptions(arguments.route, comparison, json=arguments.json, patience=arguments.patience)
    try:
        return reconcile(options, ReconcileSettings())
    except ValidationError as error:
        return fail(format_settings_error(error).removeprefix("error: "))
    except (InvalidRoutes, SourceSchema) as error:
        return fail(str(error))


def reconcile(options: ReconcileOptions, settings: ReconcileSettings) -> int:
    """Compare, repair on request, and print the report. Returns the exit code.

    0: the copies agree with their sources, or do after the repair; 1: they differ; 2: one of them could not be
    compared, a repair would change more rows than are allowed, or the sync makes no progress, so that the result is
    unknown; 130: interrupted. A route that can't be compared is reported, and the others are compared. Raises
    `InvalidRoutes` and `SourceSchema`.
    """
    try:
        chosen = chosen_routes(settings, options.routes)
    except CannotCompare as error:
        return fail(str(error))
    try:
        with reporting_progress(sys.stderr, as_json=options.json) as show:
            reports = asyncio.run(_reconcile(chosen, options, settings, show))
    except KeyboardInterrupt:
        return INTERRUPTED
    if not reports and not options.json:
        print("there are no routes to compare")
    elif not reports or any(report.problem is None for report in reports):
        print(as_json(reports) if options.json else "\n".join(map(as_text, reports)))
    if problems := _problems(reports):
        return fail("; ".join(problems))
    return IN_AGREEMENT if all(report.is_in_agreement for report in reports) else DIFFERENT


def chosen_routes(settings: ReconcileSettings, names: Sequence[str]) -> list[Route]:
    """The routes with these names, or all without names.

    Raises `CannotCompare` if there is no such route, `InvalidRoutes` and `SourceSchema`.
    """
    routes = {route.name: route for route in load_routes(settings.sync_routes_file, settings.sync_hash_secret)}
    require_separate_schema(settings.mysql_url.get_secret_value(), routes.values())
    if unknown := sorted(set(names) - routes.keys()):
        raise CannotCompare(f"there is no route {', '.join(unknown)}; the routes are {', '.join(routes)}")
    return [routes[name] for name in names or routes]


def _problems(reports: Sequence[RouteReport]) -> list[str]:
    """Why the result of routes is unknown, or nothing was repaired."""
    routes: dict[str, list[str]] = {}
    for report in reports:
        if (problem := report.problem or report.refused_repairs) is not None:
            routes.setdefault(problem, []).append(report.route)
    problems = [problem if len(reports) == 1 else f"{', '.join(names)}: {problem}" for problem, names in routes.items()]
    if any(report.is_lagging for report in reports):
        problems.append(
            "the sync makes no progress with its events, so it is unknown whether the rows differ; "
            "is sync-service running?"
        )
    return problems


async def _reconcile(
    routes: Sequence[Route], options: ReconcileOptions, settings: ReconcileSettings, show: ProgressReporter
) -> list[RouteReport]:
    async with AsyncExitStack() as cleanup:
        stores = ComparisonStores(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
        cleanup.push_async_callback(stores.close)
        reports = []
        for route in routes:
            report = RouteReport(route.name, route.topic, f"{route.target.store} {route.target.place}")
            try:
                report = await _reconciled(route, stores, options, settings, show)
            except CannotCompare as error:
                report.problem = str(error)
            except Exception as error:  # noqa: BLE001 - an unexpected row must not keep the other routes from it
                print(traceback_text((type(error), error, error.__traceback__)), file=sys.stderr)
                report.problem = f"unexpected error: {error_reason(error)}"
            reports.append(report)
        return reports


async def _reconciled(
    route: Route,
    stores: ComparisonStores,
    options: ReconcileOptions,
    settings: ReconcileSettings,
    show: ProgressReporter,
) -> RouteReport:
    """Raises `CannotCompare`."""
    begun = await _clock(stores.engine)
    if options.comparison.repair:
        await require_not_dropped(stores.engine, route)
    target = await stores.open_target(route)
    clients = KafkaClients.of(settings)
    async with TopicProgress(clients, route.topic, settings.sync_group_id, patience=options.patience) as topic:
        report = await Comparison(
            route,
            target,
            topic,
            options.comparison,
            on_progress=lambda done, total: show(route.name, done, total),
            on_repairs=lambda planned, allowed: show.repairs(route.name, planned, allowed),
        ).run()
    report.gaps_closed = await _close_gaps(stores.engine, route, report, begun)
    return report


async def _clock(engine: AsyncEngine) -> datetime:
    try:
        return await gaps.now(engine)
    except Unavailable as error:
        raise CannotCompare(f"MySQL can't be read: {str(error).removeprefix('MySQL: ')}") from error


async def require_not_dropped(engine: AsyncEngine, route: Route) -> None:
    """A repair would create its copy again. Raises `CannotCompare`."""
    try:
        is_dropped = await Stops(engine).is_dropped(route.topic, route.name)
    except Unavailable as error:
        raise CannotCompare(f"MySQL can't be read: {str(error).removeprefix('MySQL: ')}") from error
    if is_dropped:
        raise CannotCompare(f"the route {route.name} was dropped")


async def _close_gaps(engine: AsyncEngine, route: Route, report: RouteReport, begun: datetime) -> int:
    """Delete the gaps that were known before the comparison: a copy that is proven to lack nothing is in no doubt."""
    if not report.ends_doubt:
        return 0
    try:
        return await gaps.forget(engine, route.topic, before=begun)
    except Unavailable as error:
        raise CannotCompare(f"{route.name} is compared, but stays in doubt: {error}") from error


def fail(reason: str) -> int:
    """The exit code, with the reason on stderr."""
    print(f"error: {reason}", file=sys.stderr)
    return NOT_COMPARED
