"""Reads `routes.yaml`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError

from sync_service.routes.config import DroppedField, Route
from sync_service.routes.sharing import sharing_problem
from sync_service.routes.yaml_lines import YamlWithLines, read_yaml
from sync_service.sinks.source_declaration import Source

# Columns that the connectors of this release leave out, by topic. Routes of an earlier release copied them.
_LEFT_OUT: Mapping[str, Sequence[str]] = {"cdc.mysql.auth.users": ["email"]}
# pydantic puts it before the message of a ValueError.
_PREFIX = "Value error, "
_SOURCES = "sources"


class InvalidRoutes(Exception):  # noqa: N818 - the file is invalid
    """Each of `problems` is one line that names file, line, route and field; the message is all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def default_routes_file() -> Path:
    """The built-in routes."""
    return _packaged("routes.yaml")


def empty_routes_file() -> Path:
    """A file without routes, which becomes one of the user's own."""
    return _packaged("no-routes.yaml")


def _packaged(name: str) -> Path:
    """Inside of an installed package; in a checkout beside `src`."""
    package = Path(__file__).parents[1]
    inside = package / name
    return inside if inside.exists() else package.parents[1] / name


@dataclass(frozen=True)
class RoutesFile:
    """`captured` are the routes whose tables and collections the connectors of `sources` read."""

    sources: Sequence[Source]
    routes: Sequence[Route]
    captured: Sequence[Route]


def load_routes(path: Path, hash_secret: SecretStr | None = None, *, needs_secret: bool = True) -> list[Route]:
    """The routes of the file. Raises `InvalidRoutes` with all errors of the file.

    One of them is a field with `hash` and no `hash_secret`, if the routes are loaded to write copies (`needs_secret`).
    """
    return parse_routes(read_content(path), path, hash_secret, needs_secret=needs_secret)


def read_content(path: Path) -> bytes:
    """Raises `InvalidRoutes`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def parse_routes(
    content: bytes, path: Path, hash_secret: SecretStr | None = None, *, needs_secret: bool = True
) -> list[Route]:
    """As `load_routes`, of the content of the file `path`, which the errors name."""
    secret = None if hash_secret is None else hash_secret.get_secret_value()
    return list(_parse(content, path, {"hash_secret": secret, "needs_secret": needs_secret})[1])


def load_routes_file(path: Path) -> RoutesFile:
    """Routes and sources. Raises `InvalidRoutes` with all errors of the file.

    A file of an earlier release has no sources. It has the built-in ones, whose connectors read the built-in tables and
    collections and no others: its own routes have connectors of their own.
    """
    sources, routes = _read(path)
    if sources is not None:
        return RoutesFile(sources, routes, routes)
    built_in_sources, built_in = _read(default_routes_file())
    known = {route.topic for route in built_in}
    own = [route for route in routes if route.topic in known]
    return RoutesFile(built_in_sources or (), routes, [*built_in, *own])


def _read(path: Path, context: Mapping[str, Any] | None = None) -> tuple[Sequence[Source] | None, Sequence[Route]]:
    """The sources, None if the file declares none, and the routes. Raises `InvalidRoutes`.

    `context` is that of `CopiedField`.
    """
    return _parse(read_content(path), path, context)


def _parse(
    content: bytes, path: Path, context: Mapping[str, Any] | None
) -> tuple[Sequence[Source] | None, Sequence[Route]]:
    try:
        document = read_yaml(content.decode("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidRoutes([f"{path}:{line}: {error.problem}"]) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise _unreadable(path, error) from error
    sources, routes, problems = _declarations(document, context)
    if problems:
        raise InvalidRoutes([f"{path}:{line}: {problem}" for line, problem in sorted(problems)])
    return sources, routes


def _unreadable(path: Path, error: Exception) -> InvalidRoutes:
    return InvalidRoutes([f"{path}: {' '.join(str(error).split())}"])


def _declarations(
    document: YamlWithLines, context: Mapping[str, Any] | None
) -> tuple[Sequence[Source] | None, Sequence[Route], Sequence[tuple[int, str]]]:
    """The valid sources and routes, and the errors of the others, each with its line."""
    problems = list(document.problems)
    bodies = dict(document.value) if isinstance(document.value, dict) else {}
    sources: list[Source] | None = None
    if _SOURCES in bodies and not _is_route(bodies[_SOURCES]):
        sources, errors = _sources(bodies.pop(_SOURCES), document)
        problems += errors
    if not bodies and sources is None:
        # Such as a file that was cut off.
        return sources, [], [*problems, (1, "no routes in it")]
    routes = []
    for name, body in bodies.items():
        if not isinstance(body, dict):
            problems.append((document.line([name]), f"route {name} is not a mapping"))
            continue
        if "name" in body:
            problems.append(
                (document.line([name, "name"]), f"route {name}: name is not a field; the name is the key of the route")
            )
        try:
            routes.append(_without_left_out(Route.model_validate({**body, "name": str(name)}, context=context)))
        except ValidationError as error:
            problems += _explained(error, "route", [name], document)
    problems += _shared(routes, document)
    problems += _ambiguous(routes, document)
    problems += _captured(routes, document)
    problems += _misplaced(routes, sources or (), document)
    return sources, routes, problems


def _is_route(body: Any) -> bool:
    """A file of an earlier release may have a route that is called `sources`."""
    return isinstance(body, dict) and isinstance(body.get("topic"), str)


def _sources(bodies: Any, document: YamlWithLines) -> tuple[list[Source], list[tuple[int, str]]]:
    if not isinstance(bodies, dict):
        return [], [(document.line([_SOURCES]), "sources is not a mapping")]
    sources: list[Source] = []
    problems: list[tuple[int, str]] = []
    for name, body in bodies.items():
        if not isinstance(body, dict):
            problems.append((document.line([_SOURCES, name]), f"source {name} is not a mapping"))
            continue
        try:
            source = Source.model_validate({**body, "name": str(name)})
        except ValidationError as error:
            problems += _explained(error, "source", [_SOURCES, name], document)
            continue
        for other in sources:
            for what in ("topic_prefix", "server_id"):
                if getattr(source, what) == getattr(other, what) != 0:
                    line = document.line([_SOURCES, name, what])
                    problems.append((line, f"source {name} has the same {what} as source {other.name}"))
        sources.append(source)
    return sources, problems


def _misplaced(
    routes: Sequence[Route], sources: Sequence[Source], document: YamlWithLines
) -> Iterator[tuple[int, str]]:
    """Routes whose topic is one of a source that can't have it."""
    for route in routes:
        for source in sources:
            table = source.table(route.topic)
            if table is None:
                continue
            database, problem = table.partition(".")[0], None
            if source.kind != route.source_store:
                problem = (
                    f"the topic is one of source {source.name}, which is {source.kind}, and a target in "
                    f"{route.target.store} is a copy of {route.source_store}"
                )
            elif source.database not in (None, database):
                problem = (
                    f"source {source.name} reads only the database {source.database}: declare a source for {database}"
                )
            if problem:
                yield document.line([route.name, "topic"]), f"route {route.name}: {problem}"


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
    import structlog  # noqa: PLC0415 - takes a third of the start of a command, and most files need no warning

    structlog.get_logger(__name__).warning(
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


def _explained(
    error: ValidationError, what: str, declaration: Sequence[str], document: YamlWithLines
) -> Iterator[tuple[int, str]]:
    """`declaration` is the place of the route or source in the file."""
    subject = f"{what} {declaration[-1]}"
    for each in error.errors():
        # Locations have parts that are not in the file: the kind of a target, a key that is no name.
        place: list[str | int] = [*declaration]
        message = each["msg"].removeprefix(_PREFIX)
        # An error of the whole route may begin with the field that it is about.
        for part in each["loc"] or message.partition(":")[0].split("."):
            if (*place, part) in document.lines:
                place.append(part)
        field = ".".join(map(str, each["loc"]))
        yield document.line(place), f"{subject}: {field}: {message}" if field else f"{subject}: {message}"


def _shared(routes: Sequence[Route], document: YamlWithLines) -> Iterator[tuple[int, str]]:
    """Topics that two routes share, and targets if their rows would have the same keys."""
    topics: dict[str, str] = {}
    targets: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        first = topics.setdefault(route.topic, route.name)
        if first != route.name:
            yield document.line([route.name, "topic"]), f"route {route.name} has the same topic as route {first}"
        sharing = targets.setdefault((route.target.store, route.target.place), [])
        for other in sharing:
            if (problem := sharing_problem(route, other)) is not None:
                reason = f"route {route.name} has the same target as route {other.name}: {problem}"
                yield document.line([route.name, "target"]), reason
                break
        sharing.append(route)


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
