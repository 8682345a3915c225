"""Reads `routes.yaml`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import structlog
import yaml
from pydantic import ValidationError

from sync_service.routes.config import DroppedField, Route
from sync_service.routes.yaml_lines import YamlWithLines, read_yaml

# Columns that the connectors of this release leave out, by topic. Routes of an earlier release copied them.
_LEFT_OUT: Mapping[str, Sequence[str]] = {"cdc.mysql.auth.users": ["email"]}
# pydantic puts it before the message of a ValueError.
_PREFIX = "Value error, "


log = structlog.get_logger(__name__)


class InvalidRoutes(Exception):  # noqa: N818 - the file is invalid
    """Each of `problems` is one line that names file, line, route and field; the message is all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def default_routes_file() -> Path:
    """Inside of an installed package; in a checkout beside `src`."""
    package = Path(__file__).parents[1]
    inside = package / "routes.yaml"
    return inside if inside.exists() else package.parents[1] / "routes.yaml"


def load_routes(path: Path) -> list[Route]:
    """Raises `InvalidRoutes` with all errors of the file."""
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidRoutes([f"{path}:{line}: {error.problem}"]) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidRoutes([f"{path}: {' '.join(str(error).split())}"]) from error
    routes, problems = _routes(document)
    if problems:
        raise InvalidRoutes([f"{path}:{line}: {problem}" for line, problem in sorted(problems)])
    return routes


def _routes(document: YamlWithLines) -> tuple[list[Route], list[tuple[int, str]]]:
    """The valid routes, and the errors of the others, each with its line."""
    problems = list(document.problems)
    if not isinstance(document.value, dict) or not document.value:
        return [], [*problems, (1, "no routes in it")]
    routes = []
    for name, body in document.value.items():
        if not isinstance(body, dict):
            problems.append((document.line([name]), f"route {name} is not a mapping"))
            continue
        if "name" in body:
            problems.append(
                (document.line([name, "name"]), f"route {name}: name is not a field; the name is the key of the route")
            )
        try:
            routes.append(_without_left_out(Route.model_validate({**body, "name": str(name)})))
        except ValidationError as error:
            problems += _explained(error, str(name), document)
    problems += _shared(routes, document)
    problems += _ambiguous(routes, document)
    problems += _captured(routes, document)
    return routes, problems


def _without_left_out(route: Route) -> Route:
    """A route of an earlier release does not copy columns that the connector leaves out now.

    A field with a default says that its column may be missing, and stays.
    """
    left_out = {(column,) for column in _LEFT_OUT.get(route.topic, ())}
    names = {
        name
        for name, field in route.fields.items()
        if not field.is_constant and field.source_path(name) in left_out and "default" not in field.model_fields_set
    }
    if not names:
        return route
    log.warning(
        "the connector leaves out a field that a route copies: remove it", route=route.name, fields=sorted(names)
    )
    gone = [DroppedField.model_validate({"from": path, "personal": True}) for path in sorted(left_out)]
    return route.model_copy(
        update={
            "fields": {name: field for name, field in route.fields.items() if name not in names},
            "drop": (*route.drop, *gone),
            "indexes": [fields for fields in route.indexes if names.isdisjoint(fields)],
        }
    )


def _explained(error: ValidationError, route: str, document: YamlWithLines) -> Iterator[tuple[int, str]]:
    for each in error.errors():
        # Locations have parts that are not in the file: the kind of a target, a key that is no name.
        place: list[str | int] = [route]
        for part in each["loc"]:
            if (*place, part) in document.lines:
                place.append(part)
        field = ".".join(map(str, each["loc"]))
        message = each["msg"].removeprefix(_PREFIX)
        yield document.line(place), f"route {route}: {field}: {message}" if field else f"route {route}: {message}"


def _shared(routes: Sequence[Route], document: YamlWithLines) -> Iterator[tuple[int, str]]:
    """Topics and targets that two routes share, which is not allowed."""
    seen: dict[tuple[str, ...], str] = {}
    for route in routes:
        for what, identity in (("topic", (route.topic,)), ("target", (route.target.store, route.target.place))):
            first = seen.setdefault((what, *identity), route.name)
            if first != route.name:
                yield document.line([route.name, what]), f"route {route.name} has the same {what} as route {first}"


def _ambiguous(routes: Sequence[Route], document: YamlWithLines) -> Iterator[tuple[int, str]]:
    """Targets of one name of which only one names its database: the other would be taken for its old place."""
    for route in routes:
        for other in routes:
            same = (route.target.store, route.target.name) == (other.target.store, other.target.name)
            if same and route.target.database is None and other.target.database is not None:
                yield (
                    document.line([route.name, "target"]),
                    f"route {route.name} has a target of the same name as route {other.name}: name its database, too",
                )


def _captured(routes: Sequence[Route], document: YamlWithLines) -> Iterator[tuple[int, str]]:
    """Targets in a database that a connector of the same server reads: each write there costs the connector time."""
    for route in routes:
        database = route.target.database
        reader = database and next((each for each in routes if each.reads(route.target.store, database)), None)
        if reader:
            problem = (
                f"route {route.name}: target.database: the connector of route {reader.name} reads the database "
                f"{database}, so no copy may be in it: name another one, such as {database}_copy"
            )
            yield document.line([route.name, "target", "database"]), problem
