"""`sync-service routes plan FILE`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients
from sync_service.arguments import positive_number
from sync_service.endings import INTERRUPTED
from sync_service.planning.events import read_events
from sync_service.planning.plan import Copy, RoutePlan, RowClassifier, changed_parts, keeps_copy
from sync_service.planning.report import FilePlan, as_json, as_text
from sync_service.reconciliation.cli import DIFFERENT, IN_AGREEMENT, NOT_COMPARED, ReconcileSettings
from sync_service.routes.changes import RouteChanges
from sync_service.routes.check import static_findings
from sync_service.routes.cli import print_findings
from sync_service.routes.config import Route
from sync_service.routes.loader import load_routes, load_routes_file
from sync_service.sinks.base import RouteRefused, Unavailable, UnfitTable
from sync_service.sinks.mongodb.databases import database_of_address
from sync_service.sinks.mysql.schema import require_separate_schema
from sync_service.sinks.registry import ComparisonStores
from sync_service.sinks.rows import CannotCompare
from sync_service.sinks.source_declaration import Source

# For each route: some seconds of work.
DEFAULT_ROWS = DEFAULT_EVENTS = 100_000


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "plan",
        help="print what a changed routes file would do; changes nothing",
        description="Compares FILE with the file in force: the statements that the copies need, the rows that would "
        "change, and the retained events that would become dead letters. Rows are read from the source, in the order "
        "of its key, and events are the newest. Personal values are hidden.",
        epilog="Exit code 1: FILE is wrong, a store refuses a copy, or rows or events would become dead letters that "
        "are none now. 2: something could not be determined, which is named.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the changed routes file")
    for option, number, what in (("--rows", DEFAULT_ROWS, "source rows"), ("--events", DEFAULT_EVENTS, "events")):
        parser.add_argument(
            option,
            type=positive_number,
            metavar="N",
            default=number,
            help=f"the most {what} to read for each route (%(default)s)",
        )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """The exit code. Raises `InvalidRoutes` and `SourceSchema`."""
    settings = ReconcileSettings()
    live_file, file = settings.sync_routes_file, arguments.file
    before = load_routes(live_file, settings.sync_hash_secret, needs_secret=False)
    after = load_routes(file, settings.sync_hash_secret, needs_secret=False)
    require_separate_schema(settings.mysql_url.get_secret_value(), after)
    findings = static_findings(after, database_of_address(settings.mongodb_url.get_secret_value()))
    print_findings(file, findings)
    if not all(finding.is_doubt for finding in findings):
        return DIFFERENT
    sources = _changed_sources(load_routes_file(live_file).sources, load_routes_file(file).sources)
    try:
        routes = asyncio.run(_plan(before, after, settings, arguments.rows, arguments.events))
    except KeyboardInterrupt:
        return INTERRUPTED
    plan = FilePlan(str(file), str(live_file), sources, routes)
    print(as_json(plan) if arguments.json else as_text(plan))
    if plan.loses_data:
        return DIFFERENT
    if not plan.is_complete:
        problems = [f"{route.name}: {problem}" for route in plan.routes for problem in route.problems]
        print(f"error: not determined: {'; '.join(problems)}", file=sys.stderr)
        return NOT_COMPARED
    return IN_AGREEMENT


def _changed_sources(before: Sequence[Source], after: Sequence[Source]) -> list[str]:
    """What the registrar would do with the connectors of the sources."""
    former, current = ({source.name: source for source in sources} for sources in (before, after))
    return [
        *(f"source {name}: new" for name in current if name not in former),
        *(f"source {name}: changed" for name in current if name in former and current[name] != former[name]),
        *(f"source {name}: removed" for name in former if name not in current),
    ]


async def _plan(
    before: Sequence[Route], after: Sequence[Route], settings: ReconcileSettings, rows: int, events: int
) -> list[RoutePlan]:
    live, changes = {route.name: route for route in before}, RouteChanges.between(before, after)
    stores = ComparisonStores(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
    kafka = KafkaClients.of(settings)
    plans = []
    try:
        for route in after:
            if route.name in changes.added:
                plan = RoutePlan(route.name, "new", *_places(route))
            elif route.name in changes.changed:
                parts = changed_parts(live[route.name], route)
                plan = RoutePlan(route.name, "changed", *_places(route), parts=parts)
            else:
                plans.append(RoutePlan(route.name, "unchanged", *_places(route)))
                continue
            await _Planner(live.get(route.name), route, plan, stores, kafka).run(rows, events)
            plans.append(plan)
    finally:
        await stores.close()
    for name in changes.removed:
        plan = RoutePlan(name, "removed", *_places(live[name]))
        plan.notes.append(f"the copy and the topic stay; `sync-service routes drop {name}` removes the copy, too")
        plans.append(plan)
    return plans


def _places(route: Route) -> tuple[str, str]:
    """Source and target."""
    source = ".".join(route.source) if route.source else route.topic
    return f"{route.source_store} {source}", f"{route.target.store} {route.target.place}"


@dataclass(frozen=True, slots=True)
class _Planner:
    """Fills the plan of one route; `before` is the live one of this name. What can't be read is one of its problems."""

    before: Route | None
    after: Route
    plan: RoutePlan
    stores: ComparisonStores
    kafka: KafkaClients

    async def run(self, rows: int, events: int) -> None:
        before = None if self.before is None else (await self._copy(self.before))[0]
        after, undetermined = await self._copy(self.after)
        self.plan.problems += undetermined
        await self._statements()
        keeps = before is not None and keeps_copy(before.route, after.route)
        if before is not None and not keeps:
            self.plan.notes.append(
                "the route gets another topic or copy, so its rows count as added; the former copy "
                f"{before.route.target.place} stays as it is"
            )
        await self._rows(before if keeps else None, after, rows)
        is_same_topic = before is not None and before.route.topic == after.route.topic
        await self._events(before if is_same_topic else None, after, events)

    async def _copy(self, route: Route) -> tuple[Copy, Sequence[str]]:
        """And what can't be determined about its columns."""
        try:
            refused, undetermined = await self.stores.row_refusal(route)
        except Unavailable as error:
            return Copy(route, lambda _key, _values: None), [f"columns: {error}"]
        return Copy(route, refused), undetermined

    async def _statements(self) -> None:
        try:
            self.plan.statements = await self.stores.missing_statements(self.after)
        except (UnfitTable, RouteRefused) as error:
            self.plan.refused = str(error)
        except (Unavailable, TimeoutError, OSError) as error:
            self.plan.problems.append(f"statements: {error}")

    async def _rows(self, before: Copy | None, after: Copy, limit: int) -> None:
        classifier = RowClassifier(before, after)
        found = classifier.plan
        try:
            source = await self.stores.open_source_rows([copy.route for copy in (before, after) if copy is not None])
            found.total, found.is_complete = await source.estimate(), True
            async with aclosing(source.pages()) as pages:
                async for page in pages:
                    left = limit - found.read
                    for mapped in page[:left]:
                        classifier.note(None if before is None else mapped[0], mapped[-1])
                    if len(page) > left:
                        found.is_complete = False
                        break
        except CannotCompare as error:
            self.plan.problems.append(f"rows: {error}")
            return
        found.total = found.read if found.is_complete else max(found.total, found.read + 1)
        self.plan.rows, self.plan.samples = found, classifier.samples
        if before is not None and (found.changed or found.removed or found.added):
            self.plan.notes.append(
                "rows that are copied already change with their next event, or, if not only types differ, by "
                f"`sync-service reconcile --repair --route {self.plan.name}`"
            )

    async def _events(self, before: Copy | None, after: Copy, limit: int) -> None:
        try:
            self.plan.events = await read_events(self.kafka, before, after, limit)
        except (KafkaError, OSError) as error:
            reason = await self.kafka.explain(error) if isinstance(error, KafkaError) else str(error)
            self.plan.problems.append(f"events: {reason}")
            return
        if self.plan.events is None:
            self.plan.notes.append(f"the topic {self.after.topic} does not exist yet")
