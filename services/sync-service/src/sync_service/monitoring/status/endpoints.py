"""`/v1/status`."""

from collections.abc import Mapping, Sequence

from aiokafka.errors import KafkaError
from fastapi import APIRouter, Request

from sync_service.kafka.gaps import KnownGap
from sync_service.kafka.stops import Stop
from sync_service.monitoring.status.lag import CachedLag
from sync_service.monitoring.status.schemas import Latency, RouteStatus, Status, as_gaps, as_proof
from sync_service.proof.store import Proof, differs
from sync_service.routes.config import Route
from sync_service.routes.reload import RoutesReloader
from sync_service.routes.schemas import as_stops, route_state
from sync_service.runner import SyncRunner
from sync_service.statistics import RouteStatistics, percentile

router = APIRouter(prefix="/v1", tags=["status"])


@router.get("/status", summary="Read lag, counts and latency of each route")
async def status(request: Request) -> Status:
    runner: SyncRunner = request.app.state.runner
    cached_lag: CachedLag = request.app.state.lag
    reloader: RoutesReloader = request.app.state.reloader
    try:
        lag = await cached_lag.by_topic()
    except KafkaError:
        lag = {}
    return Status(
        problem=without_driver_details(
            runner.problem,
            {each.route.name: each.statistics.blocked_by for each in runner.processors.values()},
        ),
        group_id=request.app.state.settings.sync_group_id,
        assigned_partitions=len(runner.member.workers),
        routes_version=reloader.version,
        refused_routes_version=reloader.refused,
        routes=[
            _route_status(
                processor.route,
                processor.statistics,
                lag.get(topic),
                gaps=runner.gaps.of(topic),
                stops=runner.stops.of(topic),
                proof=runner.proofs.get(processor.route.name),
            )
            for topic, processor in runner.processors.items()
        ],
    )


def without_driver_details(problem: str | None, blocked: Mapping[str, str | None]) -> str | None:
    """The runner's problem without the message of a driver, which may contain accounts and addresses.

    `/v1/pipeline` and the log have the full message. `blocked` is why each route waits, by its name.
    """
    public = _without_details(problem)
    if public in blocked:
        return "; ".join(f"{route}: {_without_details(reason)}" for route, reason in blocked.items() if reason)
    return public


def _without_details(reason: str | None) -> str | None:
    return None if reason is None else reason.partition(":")[0]


def _route_status(
    route: Route,
    statistics: RouteStatistics,
    lag: int | None,
    *,
    gaps: Sequence[KnownGap],
    stops: Sequence[Stop],
    proof: Proof | None,
) -> RouteStatus:
    def milliseconds(share: float) -> float | None:
        seconds = percentile(statistics.latencies, share)
        return None if seconds is None else round(seconds * 1000, 1)

    return RouteStatus(
        name=statistics.route,
        topic=route.topic,
        target=f"{route.target.store} {route.target.name}",
        state=route_state(lag, statistics.blocked_by, is_in_doubt=bool(gaps), differs=differs(proof), stops=stops),
        lag=lag,
        applied=statistics.outcomes["applied"],
        skipped=statistics.outcomes["skipped"],
        superseded=statistics.outcomes["superseded"],
        ignored=statistics.outcomes["ignored"],
        dead_lettered=statistics.outcomes["dead-lettered"],
        rate_per_second=round(statistics.rate, 2),
        latency_ms=Latency(p50=milliseconds(0.5), p95=milliseconds(0.95), p99=milliseconds(0.99)),
        last_event_at=statistics.last_event_at,
        new_fields=len(statistics.new_fields),
        unfit_fields=len(statistics.unfit_fields),
        blocked_by=_without_details(statistics.blocked_by),
        gaps=as_gaps(gaps, with_details=False),
        stops=as_stops(stops, with_details=False),
        proof=as_proof(proof, with_details=False),
    )
