"""`/v1/counts` over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from service_kit.authorization import SCOPE_PROBLEMS
from service_kit.problems import problem_responses
from sync_service.dependencies import SyncReader
from sync_service.monitoring.counts.schemas import RouteCounts, RowCounts, Side
from sync_service.monitoring.counts.service import Counts, RouteCount
from sync_service.sinks.counting import CountedTable, RowCount

router = APIRouter(prefix="/v1", tags=["counts"])


async def _counts(request: Request) -> Counts:
    counts: Counts = request.app.state.counts
    return counts


CountsDep = Annotated[Counts, Depends(_counts)]


@router.get(
    "/counts",
    summary="Count the rows of sources and copies",
    responses=problem_responses(*SCOPE_PROBLEMS),
)
async def read_counts(*, _caller: SyncReader, counts: CountsDep) -> RowCounts:
    """Numbers only; `/v1/reconcile` compares the rows.

    Tables are counted on request, in each store one after the other, each for two seconds at most. The answer is cached
    for five seconds, or for nine times as long as counting took, so that a process spends at most a tenth of its time
    on counting.
    """
    found = await counts.read()
    return RowCounts(
        counted_at=found.at, seconds=round(found.seconds, 3), routes=[_route(each) for each in found.routes]
    )


def _route(counts: RouteCount) -> RouteCounts:
    return RouteCounts(
        route=counts.route.name,
        source=None if counts.source is None else _side(*counts.source),
        copy=_side(*counts.copy),
        difference=counts.difference,
    )


def _side(side: CountedTable, count: RowCount) -> Side:
    return Side(store=side.store, name=side.name, rows=count.rows, exactness=count.exactness, reason=count.reason)
