"""What can be seen on this machine: the routes file, and the space on its disk."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from sync_service.check_results import Result, disk_result
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, load_routes, load_routes_file


def routes_results(file: Path) -> tuple[Sequence[Route], list[Result]]:
    """The routes of the file, none if it is wrong."""
    try:
        routes = load_routes(file, needs_secret=False)
    except InvalidRoutes as error:
        return (), [Result("routes file", False, error.problems[0], "sync-service routes check")]
    return routes, [Result("routes file", True, f"{len(routes)} routes in {file}")]


def routes_of_other_servers(file: Path) -> frozenset[str]:
    """The routes whose source has an address of its own, by name. The file must be right."""
    found = load_routes_file(file)
    sources = [source for source in found.sources if source.has_own_address]
    return frozenset(route.name for route in found.routes if any(source.table(route.topic) for source in sources))


def disk_results(file: Path) -> list[Result]:
    """Of the disk with the routes file: on the embedded stack, that of the servers, too."""
    try:
        space = shutil.disk_usage(file.parent)
    except OSError as error:
        return [Result("disk", None, f"not known: {error.strerror}")]
    return [disk_result("disk", space.free, space.total)]
