"""The built-in routes of sync-service for tests with a database of their own: their copies are all in it."""

from typing import Any

import yaml

from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes


def built_in_routes() -> dict[str, Route]:
    return {route.name: in_default_database(route) for route in load_routes(default_routes_file())}


def in_default_database(route: Route) -> Route:
    return route.model_copy(update={"target": route.target.model_copy(update={"database": None})})


def built_in_declarations() -> dict[str, dict[str, Any]]:
    """As they stand in routes.yaml."""
    declared: dict[str, dict[str, Any]] = yaml.safe_load(default_routes_file().read_text())
    del declared["sources"]
    for route in declared.values():
        route["target"].pop("database", None)
    return declared
