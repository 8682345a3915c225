"""Which sources `sync-service doctor` can check. Pure."""

from collections.abc import Collection, Sequence

from sync_service.check_results import Result
from sync_service.routes.config import Route
from sync_service.sinks.targets import Store


def sources_to_check(
    routes: Sequence[Route], store: Store, elsewhere: Collection[str]
) -> tuple[list[tuple[str, str]], list[Result]]:
    """Those of the store, by database and name, and a result for each that is on another server.

    `elsewhere` are the routes that have one of those.
    """
    sources, unchecked = [], []
    for route in routes:
        if route.source_store != store or route.source is None:
            continue
        if route.name in elsewhere:
            unchecked.append(Result(f"source of route {route.name}", None, "not checked: another server"))
        else:
            sources.append(route.source)
    return sources, unchecked
