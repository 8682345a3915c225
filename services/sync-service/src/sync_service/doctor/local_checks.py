"""What can be seen on this machine: the routes file, and the space on its disk."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from sync_service.check_results import Result, disk_result
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, load_routes


def routes_results(file: Path) -> tuple[Sequence[Route], list[Result]]:
    """The routes of the file, none if it is wrong."""
    try:
        routes = load_routes(file, needs_secret=False)
    except InvalidRoutes as error:
        return (), [Result("routes file", False, error.problems[0], "sync-service routes check")]
    return routes, [Result("routes file", True, f"{len(routes)} routes in {file}")]


def disk_results(file: Path) -> list[Result]:
    """Of the disk with the routes file: on the embedded stack, that of the servers, too."""
    try:
        space = shutil.disk_usage(file.parent)
    except OSError as error:
        return [Result("disk", None, f"not known: {error.strerror}")]
    return [disk_result("disk", space.free, space.total)]
