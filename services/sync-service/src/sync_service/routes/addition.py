"""A route for a table or collection that the file does not have yet. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from sync_service.routes.config import Route
from sync_service.routes.loader import RoutesFile
from sync_service.routes.yaml_lines import YamlWithLines, last_line, read_yaml
from sync_service.sinks.proposals import CannotPropose, ProposedField, ProposedSource
from sync_service.sinks.source_declaration import Source, declared_source
from sync_service.sinks.targets import AnyTarget, opposite_target

_SOURCES = "sources"
_LONGEST_NAME = 59
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")
# Beginnings of the names of the sync's own columns.
_RESERVED = re.compile(r"_*sync", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Addition:
    """A route, and its declaration as it is written into the file, with the source's definitions as comments.

    `sources` are those that the file has to declare before; none if it declares the route's source already.
    """

    route: Route
    declaration: str
    sources: Sequence[Source]

    @property
    def text(self) -> str:
        """What is added to the file."""
        if not self.sources:
            return self.declaration
        return "\n".join([f"{_SOURCES}:", *_source_lines(self.sources, "  "), "", self.declaration])


def addition(
    found: ProposedSource, file: RoutesFile, databases: Collection[str], *, declares_sources: bool
) -> Addition:
    """The route for what was found.

    `databases` are those of the target's server. `declares_sources`: does the file have `sources`? Raises
    `CannotPropose`.
    """
    if any(route.source == (found.database, found.name) and route.source_store == found.store for route in file.routes):
        raise CannotPropose(f"a route of {found.place} is there already")
    source = next((each for each in file.sources if each.reads(found.store, found.database)), None)
    sources = [] if declares_sources else list(file.sources)
    if source is None:
        source = declared_source(found.store, found.database)
        sources.append(source)
    name = _route_name(found, file.routes)
    try:
        target = _target(found, file.routes, databases)
        topic = f"{source.topic_prefix}.{found.place}"
        declaration = "\n".join(_route_lines(name, topic, target, found)) + "\n"
        route = Route.model_validate({**yaml.safe_load(declaration)[name], "name": name})
    except ValidationError as error:
        reasons = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise CannotPropose(f"{found.place}: {reasons}") from error
    return Addition(route, declaration, sources)


def with_addition(text: str, added: Addition) -> str:
    """The text of the file with the addition; comments and order stay. Raises `CannotPropose`."""
    document = read_yaml(text)
    lines = text.splitlines()
    if added.sources and _SOURCES in (document.value or {}):
        last = last_line(text, [_SOURCES])
        place = document.line([_SOURCES, next(iter(document.value[_SOURCES]))])
        if place == document.line([_SOURCES]):
            raise CannotPropose("sources is written in one line: write each source into a line of its own")
        indent = re.match(r" *", lines[place - 1])
        lines[last:last] = _source_lines(added.sources, indent[0] if indent else "  ")
    elif added.sources:
        first = _first_line(document, lines)
        lines[first:first] = [f"{_SOURCES}:", *_source_lines(added.sources, "  "), ""]
    return "\n".join([*lines, "", added.declaration])


def _first_line(document: YamlWithLines, lines: Sequence[str]) -> int:
    """The index of the line of the first route, without the comments above it."""
    names = document.value or {}
    first = min((document.line([name]) for name in names), default=len(lines) + 1) - 1
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    return first


def _source_lines(sources: Iterable[Source], indent: str) -> list[str]:
    return [f"{indent}{each.name}: {_flow(each.declaration)}" for each in sources]


def _route_name(found: ProposedSource, routes: Iterable[Route]) -> str:
    taken = {route.name for route in routes} | {_SOURCES}
    return next(
        name
        for name in (found.name, f"{found.database}_{found.name}", f"{found.place} of {found.store}")
        if name not in taken
    )


def _target(found: ProposedSource, routes: Sequence[Route], databases: Collection[str]) -> AnyTarget:
    """In a database named after the source's; with `_copy` if the target's server has one of that name of its own."""
    database = legal_name(found.database)
    target = opposite_target(found.store, database, legal_name(found.name))
    has_copies = any(route.target.store == target.store and route.target.database == database for route in routes)
    is_read = any(route.reads(target.store, database) for route in routes)
    is_taken = database.lower() in {each.lower() for each in databases} and not has_copies
    return target.model_copy(update={"database": f"{database}_copy"}) if is_read or is_taken else target


def _names(found: ProposedSource, target: AnyTarget) -> Mapping[tuple[str, ...], str]:
    """The names in the copy by the paths in the source."""
    names: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for part in (*found.key, *found.fields):
        name = legal_name(part.path[-1])
        if len(found.key) == 1 and part is found.key[0]:
            name = "_id" if target.has_document_keys else _without_underscore(name, found.fields)
        elif target.has_document_keys and name == "_id":
            name = "source_id"
        chosen, number = name, 1
        while chosen.lower() in taken:
            number += 1
            chosen = f"{name[: _LONGEST_NAME - 3]}_{number}"
        taken.add(chosen.lower())
        names[part.path] = chosen
    return names


def _without_underscore(name: str, others: Iterable[ProposedField]) -> str:
    """`id` for `_id`, unless that is another field."""
    short = name.lstrip("_")
    return short if short and all(part.path[-1].lower() != short.lower() for part in others) else name


def legal_name(name: str) -> str:
    """The name, or what is nearest to it among those that a copy can have."""
    legal = _NOT_IN_NAMES.sub("_", name)
    if legal[:1].isdigit() or _RESERVED.match(legal):
        legal = f"source_{legal}"
    return legal[:_LONGEST_NAME]


def _route_lines(name: str, topic: str, target: AnyTarget, found: ProposedSource) -> list[str]:
    names = _names(found, target)
    key, fields = _field_lines(found.key, names), _field_lines(found.fields, names)
    has_fields = any(part.type for part in found.fields)
    return [
        f"{_flow(name)}:  # {_comment(f'{found.store} {found.place}, {found.remark}')}",
        f"  topic: {_flow(topic)}",
        f"  target: {_flow(target.model_dump())}",
        "  key:",
        *key,
        f"  fields:{'' if has_fields else ' {}'}",
        *fields,
    ]


def _field_lines(parts: Iterable[ProposedField], names: Mapping[tuple[str, ...], str]) -> list[str]:
    lines = []
    for part in parts:
        name, remark = names[part.path], _comment(part.remark)
        if part.type is None:
            lines.append(f"    # not copied: {_comment('.'.join(part.path))}: {remark}")
            continue
        options: dict[str, object] = {}
        if part.path != (name,):
            has_dots = any("." in step for step in part.path)
            options["from"] = list(part.path) if has_dots else ".".join(part.path)
        options |= {"type": part.type, **part.options}
        lines.append(f"    {name}: {_flow(part.type if list(options) == ['type'] else options)}  # {remark}")
    return lines


def _comment(text: str) -> str:
    """In one line, whatever the source's names have in them."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _flow(value: object) -> str:
    written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return written.removesuffix("...\n").strip()
