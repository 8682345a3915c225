"""Reads `routes.yaml`."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from sync_service.routes.models import Route


class InvalidRoutes(Exception):  # noqa: N818 - the file is, the program is not
    """The message is one line that names file, route and field."""


def default_routes_file() -> Path:
    """In an installed package inside it, in a checkout beside `src`."""
    package = Path(__file__).parents[1]
    inside = package / "routes.yaml"
    return inside if inside.exists() else package.parents[1] / "routes.yaml"


def load_routes(path: Path) -> list[Route]:
    """Raises `InvalidRoutes`."""
    try:
        declared = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRoutes(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(declared, dict) or not declared:
        raise InvalidRoutes(f"{path}: no routes in it")
    routes = [_route(path, str(name), body) for name, body in declared.items()]
    for what, values in (
        ("topic", [route.topic for route in routes]),
        ("target", [(route.target.store, route.target.name) for route in routes]),
    ):
        if len(set(values)) < len(values):
            raise InvalidRoutes(f"{path}: two routes have the same {what}")
    return routes


def _route(path: Path, name: str, body: object) -> Route:
    if not isinstance(body, dict):
        raise InvalidRoutes(f"{path}: route {name} is not a mapping")
    try:
        return Route.model_validate({"name": name, **body})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidRoutes(f"{path}: route {name}: {wrong}") from error
