"""`sync-service routes backfill NAME`: copies the rows of a source that its copy lacks.

It compares range after range and writes what is missing in each, so a second run continues where the first has ended:
ranges that are equal are only compared. Newer rows are never overwritten (`reconciliation.repair`), and rows that
differ otherwise are reported and stay: `reconcile --repair` decides about these.

With a condition (`--where`), the ranges are the same, and only the source rows of a range that meet it are compared.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from service_kit.kafka import KafkaClients
from sync_service.endings import INTERRUPTED
from sync_service.reconciliation.cli import (
    DIFFERENT,
    IN_AGREEMENT,
    PATIENCE_SECONDS,
    ReconcileSettings,
    chosen_routes,
    fail,
    require_not_dropped,
)
from sync_service.reconciliation.compare import ROWS_IN_A_RANGE, Comparison, ComparisonOptions
from sync_service.reconciliation.differences import DifferenceKind
from sync_service.reconciliation.progress import reporting_progress
from sync_service.reconciliation.reports import RouteReport, as_json, as_text
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.sinks.comparison_target import ComparisonTarget
from sync_service.sinks.registry import ComparisonStores
from sync_service.sinks.rows import Bound, CannotCompare, KeyRange, RowRequest

_MISSING_ROWS = ComparisonOptions(repair=True, max_repairs=sys.maxsize, repaired=frozenset({DifferenceKind.MISSING}))


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "backfill",
        help="copy the rows that the copy of a route lacks",
        description="Compares the copy with its source, range after range, and writes the rows that it lacks, "
        "while changes are applied. It may be interrupted and run again. Debezium's snapshot copies the rows of a "
        "new route, but for documents whose _id is none of its types. Nothing is copied from a source that has none of "
        "the first rows of the copy: it may be a wrong one.",
        epilog="Exit codes as of reconcile: 0: the copy has every row; 1: rows differ otherwise, or still change; "
        "2: not compared.",
    )
    parser.add_argument("name", metavar="NAME", help="the name of the route")
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="only rows that meet it: SQL as after WHERE, or a filter in extended JSON for a collection",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and the progress as JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """The exit code, as of `reconcile`. Raises `InvalidRoutes` and `SourceSchema`."""
    settings = ReconcileSettings()
    try:
        (route,) = chosen_routes(settings, [arguments.name])
        with reporting_progress(sys.stderr, as_json=arguments.json) as show:
            report = asyncio.run(
                _backfill(settings, route, arguments.where, lambda done, total: show(route.name, done, total))
            )
    except CannotCompare as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    print(as_json([report]) if arguments.json else as_text(report))
    if report.is_lagging:
        return fail("the sync makes no progress with its events; is sync-service running? Run it again then")
    return IN_AGREEMENT if report.is_in_agreement and not report.unsettled else DIFFERENT


async def _backfill(
    settings: ReconcileSettings, route: Route, where: str | None, on_progress: Callable[[int, int], None]
) -> RouteReport:
    """Raises `CannotCompare` and `WrongCondition`."""
    async with AsyncExitStack() as cleanup:
        stores = ComparisonStores(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
        cleanup.push_async_callback(stores.close)
        await require_not_dropped(stores.engine, route)
        target = await stores.open_target(route, where=where)
        topic = await cleanup.enter_async_context(
            TopicProgress(KafkaClients.of(settings), route.topic, settings.sync_group_id, patience=PATIENCE_SECONDS)
        )
        return await backfill(route, target, topic, on_progress, where=where)


async def backfill(
    route: Route,
    target: ComparisonTarget,
    topic: TopicProgress,
    on_progress: Callable[[int, int], None],
    *,
    where: str | None = None,
) -> RouteReport:
    """`where` is the condition of the target, for the report.

    Ends early if the sync makes no progress with its events (`RouteReport.is_lagging`). Raises `CannotCompare`.
    """
    await _require_common_rows(target)
    report, total = RouteReport(route.name, *target.names, where=where), await target.source.estimate()
    lower: Bound | None = None
    done = 0
    while True:
        on_progress(done, total)
        upper = await target.source.next_bound(lower, ROWS_IN_A_RANGE)
        report.add(await Comparison(route, target, topic, _MISSING_ROWS, only=KeyRange(lower, upper)).run())
        if upper is None or report.is_lagging:
            return report
        lower = upper
        done += ROWS_IN_A_RANGE


async def _require_common_rows(target: ComparisonTarget) -> None:
    """The rows of a wrong source would be added to the copy. Raises `CannotCompare`."""
    async for page in target.copy.pages(KeyRange()):
        if not page:
            continue
        if not await target.source.look_up([RowRequest(row.key, source_id=row.source_id) for row in page]):
            source, copy = target.names
            raise CannotCompare(
                f"nothing is copied: {source} has none of the first {len(page):,} rows of {copy}, so it may be a wrong "
                "source; if it is the right one, sync-service reconcile --repair first removes the rows that it does "
                "not have"
            )
        return
