"""`/v1/routes` over HTTP."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from service_kit.authorization import SCOPE_PROBLEMS
from service_kit.problems import ValidationFailed, problem_responses
from sync_service.dependencies import SyncWriter
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes
from sync_service.routes.pause import RoutePauser
from sync_service.routes.problems import (
    OffsetOutOfRange,
    PauseNotConfirmed,
    RouteNotFound,
    RouteNotStopped,
    RoutesRefused,
)
from sync_service.routes.reload import RoutesReloader
from sync_service.routes.resume import EventsToPass, RouteResumer
from sync_service.routes.schemas import PausedRoute, ReloadedRoutes, ResumedRoute, ResumeRequest, as_stops
from sync_service.sinks.mysql.schema import SourceSchema

router = APIRouter(prefix="/v1/routes", tags=["routes"])


async def _route(request: Request, name: Annotated[str, Path(max_length=100, examples=["tweets"])]) -> Route:
    routes: Sequence[Route] = request.app.state.runner.routes
    found = next((route for route in routes if route.name == name), None)
    if found is None:
        raise RouteNotFound
    return found


async def _resumer(request: Request) -> RouteResumer:
    resumer: RouteResumer = request.app.state.resumer
    return resumer


async def _pauser(request: Request) -> RoutePauser:
    pauser: RoutePauser = request.app.state.pauser
    return pauser


@router.post(
    "/{name}/pause",
    summary="Pause a route",
    responses=problem_responses(*SCOPE_PROBLEMS, RouteNotFound, PauseNotConfirmed),
)
async def pause_route(
    *,
    caller: SyncWriter,
    route: Annotated[Route, Depends(_route)],
    pauser: Annotated[RoutePauser, Depends(_pauser)],
    request: Request,
) -> PausedRoute:
    """Answers when no process of the service applies an event of the route any more, after half a minute at the latest.

    Its events wait in Kafka, as long as the topic keeps them. A restart does not end the pause.
    """
    await pauser.pause([route], by=caller.username)
    return PausedRoute(name=route.name, stops=as_stops(request.app.state.runner.stops.of(route.topic)))


@router.post(
    "/{name}/resume",
    summary="Start a stopped or paused route again",
    responses=problem_responses(*SCOPE_PROBLEMS, RouteNotFound, RouteNotStopped, OffsetOutOfRange, ValidationFailed),
)
async def resume_route(
    *,
    caller: SyncWriter,
    route: Annotated[Route, Depends(_route)],
    resumer: Annotated[RouteResumer, Depends(_resumer)],
    requested: ResumeRequest | None = None,
) -> ResumedRoute:
    """All processes of the service continue with the route. If the cause is not corrected, it stops again.

    Events that are skipped or discarded are lost for the copy until their rows change again or a repair restores them.
    """
    requested = requested or ResumeRequest()
    events = EventsToPass(
        {each.partition: each.offset for each in requested.skip_to},
        {each.partition: each.offset for each in requested.discard_to},
    )
    stops = await resumer.resume(route, events, by=caller.username)
    return ResumedRoute(name=route.name, stops=as_stops(stops))


@router.post(
    "/reload",
    summary="Put a changed routes file in force",
    responses=problem_responses(*SCOPE_PROBLEMS, RoutesRefused),
)
async def reload_routes(*, _caller: SyncWriter, request: Request) -> ReloadedRoutes:
    """Returns when this process applies the routes of the file; the others notice it within a few seconds. A wrong file
    changes nothing. Routes that stay the same continue where they are; events that are applied are not applied again.
    """
    reloader: RoutesReloader = request.app.state.reloader
    try:
        reloaded = await reloader.reload()
    except (InvalidRoutes, SourceSchema) as error:
        raise RoutesRefused(str(error)) from error
    return ReloadedRoutes(
        version=reloaded.version,
        routes=[route.name for route in request.app.state.runner.routes],
        added=list(reloaded.changes.added),
        changed=list(reloaded.changes.changed),
        removed=list(reloaded.changes.removed),
    )
