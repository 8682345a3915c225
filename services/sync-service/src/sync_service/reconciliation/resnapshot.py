"""`sync-service routes resnapshot NAME`: has Debezium write all rows of a route's source to its topic again.

The registrar requests the snapshot from the connector, and keeps the request in Kafka. So the command only follows it:
it may be interrupted, and shows the same snapshot when it is called again.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import httpx
from pydantic import AnyHttpUrl

from service_kit.http_client import internal_client
from service_kit.kafka import KafkaClients
from sync_service.endings import INTERRUPTED
from sync_service.reconciliation.cli import (
    PATIENCE_SECONDS,
    ReconcileSettings,
    chosen_routes,
    fail,
    require_not_dropped,
)
from sync_service.reconciliation.progress import ProgressReporter, reporting_progress
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.sinks.base import RouteRefused, Unavailable
from sync_service.sinks.registry import ComparisonStores
from sync_service.sinks.rows import CannotCompare

_DONE, _WITHDRAWN, _BY_HAND = 0, 1, 3
_POLL_SECONDS = 0.5
# A registrar that restarts is back in less.
_SILENCE_SECONDS = 60.0
_RUNNING = ("requested", "running")


class ResnapshotSettings(ReconcileSettings):
    registrar_url: AnyHttpUrl | None = None


class NotFollowed(Exception):  # noqa: N818 - the result of the command
    """The snapshot was not requested, or its progress is unknown. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the registrar reports of a snapshot, as its `/v1/snapshots`."""

    id: str
    table: str
    state: str
    rows: int
    reason: str | None
    problem: str | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Self:
        return cls(**{name: answer[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Result:
    """`left_out` names documents that Debezium's snapshot leaves out. `is_applied`: the copy has what it wrote."""

    route: Route
    snapshot: Snapshot
    left_out: str | None
    is_applied: bool

    @property
    def by_hand(self) -> list[str]:
        """Commands to run afterwards."""
        needs_backfill = self.left_out is not None or self.snapshot.state == "not-copied"
        return [f"sync-service routes backfill {self.route.name}"] if needs_backfill else []

    @property
    def exit_code(self) -> int:
        if self.snapshot.state == "withdrawn":
            return _WITHDRAWN
        return _BY_HAND if self.by_hand else _DONE

    @property
    def json(self) -> str:
        return json.dumps(
            {
                "route": self.route.name,
                "source": self.snapshot.table,
                "state": self.snapshot.state,
                "reason": self.snapshot.reason,
                "left_out": self.left_out,
                "is_applied": self.is_applied,
                "by_hand": self.by_hand,
            },
            ensure_ascii=False,
        )

    def __str__(self) -> str:
        name, snapshot = self.route.name, self.snapshot
        if snapshot.state == "withdrawn":
            return (
                f"{name}: the request was withdrawn, because the connector takes a new snapshot of all its tables, or "
                f"does not capture {snapshot.table} any more: see the registrar's /v1/connectors"
            )
        lines = []
        if snapshot.state == "not-copied":
            lines.append(f"{name}: Debezium has not copied all rows of {snapshot.table} ({snapshot.reason})")
        elif self.is_applied:
            lines.append(f"{name}: the copy has all rows of {snapshot.table} that the snapshot has read")
        if self.by_hand:
            left_out = f", because Debezium's snapshot leaves out {self.left_out}" if self.left_out else ""
            lines.append(f"Then run{left_out}: {'; '.join(self.by_hand)}")
        return "\n".join(lines)


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "resnapshot",
        help="have all rows of a source written to its topic again",
        description="Requests an incremental snapshot of the table or collection from the registrar at REGISTRAR_URL, "
        "and waits until the copy has its rows. Live changes are applied meanwhile, and newer rows stay. It may be "
        "interrupted and run again: it shows the snapshot that is running, and starts no second one. Rows that the "
        "source does not have any more stay: see reconcile --repair.",
        epilog="Exit codes: 0: the copy has the rows; 1: the request was withdrawn; 2: not requested, or not known to "
        "have ended; 3: something has to be done by hand, which is printed.",
    )
    parser.add_argument("name", metavar="NAME", help="the name of the route")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and the progress as JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """The exit code, as the help says. Raises `InvalidRoutes` and `SourceSchema`."""
    settings = ResnapshotSettings()
    try:
        (route,) = chosen_routes(settings, [arguments.name])
        if settings.registrar_url is None:
            return fail("REGISTRAR_URL is not set: it is the address of the registrar, which requests snapshots")
        with reporting_progress(sys.stderr, as_json=arguments.json, verb="read by Debezium") as show:
            result = asyncio.run(_resnapshot(settings, route, show))
    except (CannotCompare, NotFollowed, RouteRefused, Unavailable) as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    if text := result.json if arguments.json else str(result):
        print(text)
    if not result.is_applied and result.snapshot.state != "withdrawn":
        return fail(
            "the rows are in Kafka, but the sync makes no progress with its events; is sync-service running, and the "
            f"route not paused (sync-service routes resume {route.name})?"
        )
    return result.exit_code


async def _resnapshot(settings: ResnapshotSettings, route: Route, show: ProgressReporter) -> Result:
    """Raises `CannotCompare`, `NotFollowed`, `RouteRefused`, `Unavailable`."""
    async with AsyncExitStack() as cleanup:
        stores = ComparisonStores(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
        cleanup.push_async_callback(stores.close)
        await require_not_dropped(stores.engine, route)
        left_out, total = await stores.left_out_by_snapshots(route), await estimated_rows(stores, route)
        client = await cleanup.enter_async_context(internal_client(str(settings.registrar_url).rstrip("/")))
        snapshot = await _follow(
            client,
            route.topic,
            on_rows=lambda rows: show(route.name, rows, total),
            on_problem=lambda problem: show.note(route.name, f"the snapshot waits for its connector: {problem}"),
        )
        topic = await cleanup.enter_async_context(
            TopicProgress(KafkaClients.of(settings), route.topic, settings.sync_group_id, patience=PATIENCE_SECONDS)
        )
        is_applied = snapshot.state != "withdrawn" and await topic.caught_up() is not None
        return Result(route, snapshot, left_out, is_applied)


async def estimated_rows(stores: ComparisonStores, route: Route) -> int:
    """Of the source; 0 if it can't be read from here: only the progress needs them."""
    try:
        return await (await stores.open_target(route)).source.estimate()
    except CannotCompare:
        return 0


async def _follow(
    client: httpx.AsyncClient, topic: str, *, on_rows: Callable[[int], None], on_problem: Callable[[str], None]
) -> Snapshot:
    """Request the snapshot of a topic, and wait for its end. Raises `NotFollowed`."""
    try:
        snapshot = _read(await client.post("/v1/snapshots", json={"topic": topic}))
    except httpx.HTTPError as error:
        raise NotFollowed(f"{_silent(client, error)}; is it running?") from error
    answered, problem = time.monotonic(), None
    while snapshot.state in _RUNNING:
        on_rows(snapshot.rows)
        if snapshot.problem is not None and snapshot.problem != problem:
            on_problem(snapshot.problem)
        problem = snapshot.problem
        await asyncio.sleep(_POLL_SECONDS)
        try:
            snapshot = _read(await client.get(f"/v1/snapshots/{snapshot.id}", params={"topic": topic}))
            answered = time.monotonic()
        except httpx.HTTPError as error:
            # It may restart: the request is in Kafka.
            if time.monotonic() > answered + _SILENCE_SECONDS:
                raise NotFollowed(
                    f"{_silent(client, error)}; the snapshot does not depend on it: run the command again to see its "
                    "progress"
                ) from error
    return snapshot


def _read(answer: httpx.Response) -> Snapshot:
    """Raises `httpx.HTTPError` if the registrar can't answer, and `NotFollowed` if it refuses."""
    if answer.is_server_error:
        answer.raise_for_status()
    try:
        content = answer.json()
        if answer.is_success:
            return Snapshot.of(content)
        raise NotFollowed(str(content["detail"]))
    except (ValueError, KeyError, TypeError) as error:
        raise NotFollowed(f"the answer of {answer.url} is not that of a registrar of this release") from error


def _silent(client: httpx.AsyncClient, error: httpx.HTTPError) -> str:
    return f"the registrar at {client.base_url} does not answer: {error or type(error).__name__}"
