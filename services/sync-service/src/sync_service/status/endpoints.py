"""`/v1/status`."""

from aiokafka.errors import KafkaError
from fastapi import APIRouter, Request

from sync_service.consumer.operation import SyncOperation
from sync_service.status.schemas import Latency, RouteStatus, Status
from sync_service.status.statistics import RouteStatistics, percentile

router = APIRouter(prefix="/v1", tags=["status"])


@router.get("/status", summary="How far each route is")
async def status(request: Request) -> Status:
    operation: SyncOperation = request.app.state.operation
    try:
        lag = await operation.member.lag()
    except KafkaError:
        lag = {}
    return Status(
        problem=operation.problem,
        group_id=request.app.state.settings.sync_group_id,
        assigned_partitions=len(operation.member.workers),
        routes=[
            _route_status(
                topic,
                application.route.target.store,
                application.route.target.name,
                application.statistics,
                lag.get(topic),
            )
            for topic, application in operation.applications.items()
        ],
    )


def _route_status(topic: str, store: str, target: str, statistics: RouteStatistics, lag: int | None) -> RouteStatus:
    def milliseconds(share: float) -> float | None:
        seconds = percentile(statistics.latencies, share)
        return None if seconds is None else round(seconds * 1000, 1)

    return RouteStatus(
        name=statistics.route,
        topic=topic,
        target=f"{store} {target}",
        lag=lag,
        applied=statistics.applied,
        skipped=statistics.skipped,
        superseded=statistics.superseded,
        ignored=statistics.ignored,
        dead_lettered=statistics.dead_lettered,
        rate_per_second=round(statistics.rate, 2),
        latency_ms=Latency(p50=milliseconds(0.5), p95=milliseconds(0.95), p99=milliseconds(0.99)),
        last_event_at=statistics.last_event_at,
        blocked_by=statistics.blocked_by,
    )
