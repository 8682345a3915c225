"""`/v1/reconcile` over HTTP."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, status

from service_kit.authorization import SCOPE_PROBLEMS
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import UuidParam
from sync_service.dependencies import ReadsPersonal, SyncReader, SyncWriter
from sync_service.reconciliation.jobs import Job, Jobs
from sync_service.reconciliation.problems import ReconciliationNotFound, ReconciliationRunning
from sync_service.reconciliation.schemas import (
    ReconcileRequest,
    Reconciliation,
    Reconciliations,
    RouteProgress,
    RouteReport,
)
from sync_service.routes.personal import MASK, PersonalFields
from sync_service.routes.problems import UnknownRouteInBody

LOCATION = {
    "description": "The URL of the comparison.",
    "schema": {"type": "string", "format": "uri-reference"},
    "example": "/v1/reconcile/019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21",
}

router = APIRouter(prefix="/v1/reconcile", tags=["reconciliation"])


async def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.reconciliations
    return jobs


async def _hides_key(request: Request, reads_personal: ReadsPersonal) -> Callable[[str], bool]:
    routes = {route.name: route for route in request.app.state.runner.routes}
    # Those of routes that were removed since may be personal, too.
    return lambda name: not reads_personal and PersonalFields(routes.get(name)).has_key


JobsDep = Annotated[Jobs, Depends(_jobs)]
# May the caller not read the keys of the route with this name?
HidesKey = Annotated[Callable[[str], bool], Depends(_hides_key)]


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Compare the copies with their sources, and repair them on request",
    responses={
        202: {"headers": {"Location": LOCATION}},
        **problem_responses(*SCOPE_PROBLEMS, ReconciliationRunning, ValidationFailed, UnknownRouteInBody),
    },
)
async def start_reconciliation(
    *, _caller: SyncWriter, jobs: JobsDep, request: Request, response: Response, requested: ReconcileRequest
) -> Reconciliation:
    """Each process of the service runs one comparison at a time."""
    known = {route.name for route in request.app.state.runner.routes}
    if requested.route is not None and requested.route not in known:
        raise UnknownRouteInBody
    job = Job(requested.route, requested.repair, requested.sample, requested.max_repairs)
    jobs.start(job)
    response.headers["Location"] = f"{request.scope['root_path']}{router.prefix}/{job.id}"
    return _response(job, lambda _: True)


@router.get("", summary="List the latest comparisons, the newest first", responses=problem_responses(*SCOPE_PROBLEMS))
async def list_reconciliations(_caller: SyncReader, hides_key: HidesKey, jobs: JobsDep) -> Reconciliations:
    """The latest 20 of this process, including a running one."""
    return Reconciliations(items=[_response(job, hides_key) for job in jobs.latest()])


@router.get(
    "/{reconciliation_id}",
    summary="Read the progress and the report of a comparison",
    responses=problem_responses(*SCOPE_PROBLEMS, ReconciliationNotFound, ValidationFailed),
)
async def get_reconciliation(
    _caller: SyncReader, hides_key: HidesKey, jobs: JobsDep, reconciliation_id: UuidParam
) -> Reconciliation:
    """One of the latest 20 of this process. Personal keys are `[personal]`, unless the caller may read users."""
    return _response(jobs.get(reconciliation_id), hides_key)


def _response(job: Job, hides_key: Callable[[str], bool]) -> Reconciliation:
    return Reconciliation(
        id=job.id,
        state=job.state,
        route=job.route,
        repair=job.repair,
        sample=job.sample,
        max_repairs=job.max_repairs,
        started_at=job.started_at,
        finished_at=job.finished_at,
        progress=[RouteProgress(route=route, done=done, total=total) for route, (done, total) in job.progress.items()],
        report=None if job.report is None else [_route_report(each, hides_key) for each in job.report],
        problem=job.problem,
    )


def _route_report(report: Mapping[str, Any], hides_key: Callable[[str], bool]) -> RouteReport:
    """The reason of an example can name other keys."""
    parsed = RouteReport.model_validate(report)
    if not hides_key(parsed.route):
        return parsed
    examples = [
        each.model_copy(update={"key": [MASK] * len(each.key), "reason": each.reason and MASK})
        for each in parsed.examples
    ]
    return parsed.model_copy(update={"examples": examples})
