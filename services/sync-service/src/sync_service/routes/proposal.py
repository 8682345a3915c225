"""A route for a table or collection that the file does not have yet. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from sync_service.routes.config import Route
from sync_service.routes.editing import CannotEdit, lines_of_entry
from sync_service.routes.loader import RoutesFile
from sync_service.routes.yaml_lines import YamlWithLines, read_yaml
from sync_service.sinks.proposals import CannotPropose, DescribedSource, ProposedField
from sync_service.sinks.source_declaration import Source, declared_source
from sync_service.sinks.targets import AnyTarget, opposite_target

_SOURCES = "sources"
_EMPTY = re.compile(rf"^{_SOURCES}: *\{{ *\}}")
_LONGEST_NAME = 59
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")
# Beginnings of the names of the sync's own columns.
_RESERVED = re.compile(r"_*sync", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProposedRoute:
    """A route, and its declaration as it is written into the file, with the source's definitions as comments.

    `sources` are those that the file has to declare before; none if it declares the route's source already.
    `no_snapshot` is that of the `DescribedSource`; None if the source has no route yet.
    """

    route: Route
    declaration: str
    sources: Sequence[Source]
    no_snapshot: str | None = None

    @property
    def text(self) -> str:
        """What is added to the file."""
        if not self.sources:
            return self.declaration
        return "\n".join([f"{_SOURCES}:", *_source_lines(self.sources, "  "), "", self.declaration])


def propose_route(
    described: DescribedSource, file: RoutesFile, databases: Collection[str] | None, *, declares_sources: bool
) -> ProposedRoute:
    """The route for a table or collection.

    `databases` are those of the target's server, None if not all of them are known. `declares_sources`: does the file
    have `sources`? Raises `CannotPropose`.
    """
    copied = {(route.source_store, route.source) for route in file.routes}
    if (described.store, (described.database, described.name)) in copied:
        raise CannotPropose(f"a route of {described.place} is there already")
    source = next((each for each in file.sources if each.reads(described.store, described.database)), None)
    sources = [] if declares_sources else list(file.sources)
    if source is None:
        source = declared_source(described.store, described.database)
        sources.append(source)
    name = _route_name(described, file.routes)
    try:
        target = _target(described, file.routes, databases)
        topic = f"{source.topic_prefix}.{described.place}"
        declaration = "\n".join(_route_lines(name, topic, target, described)) + "\n"
        route = Route.model_validate({**yaml.safe_load(declaration)[name], "name": name})
    except ValidationError as error:
        reasons = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise CannotPropose(f"{described.place}: {reasons}") from error
    # A connector that is new copies every row.
    is_captured = any(source.table(each.topic) is not None for each in file.routes)
    return ProposedRoute(route, declaration, sources, described.no_snapshot if is_captured else None)


def with_route(text: str, added: ProposedRoute) -> str:
    """The text of the file with the addition; comments and order stay. Raises `CannotPropose`."""
    document = read_yaml(text)
    lines = text.splitlines()
    if added.sources and _SOURCES in (document.value or {}):
        try:
            _, last = lines_of_entry(text, _SOURCES)
        except CannotEdit as error:
            raise CannotPropose(f"the file can't be edited: {error}") from error
        first = document.line([_SOURCES])
        if not document.value[_SOURCES]:
            lines[first - 1] = _EMPTY.sub(f"{_SOURCES}:", lines[first - 1])
            place, last = first, first
        else:
            place = document.line([_SOURCES, next(iter(document.value[_SOURCES]))])
            if place == first:
                raise CannotPropose("sources is written in one line: write each source into a line of its own")
        indent = re.match(r" *", lines[place - 1])
        lines[last:last] = _source_lines(added.sources, (indent and indent[0]) or "  ")
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


def _route_name(described: DescribedSource, routes: Iterable[Route]) -> str:
    taken = {route.name for route in routes} | {_SOURCES}
    return next(
        name
        for name in (
            described.name,
            f"{described.database}_{described.name}",
            f"{described.place} of {described.store}",
        )
        if name not in taken
    )


def _target(described: DescribedSource, routes: Sequence[Route], databases: Collection[str] | None) -> AnyTarget:
    """In a database named after the source's; with `_copy` if the target's server has one of that name of its own."""
    database = legal_name(described.database)
    target = opposite_target(described.store, database, legal_name(described.name))
    of_copies = {route.target.database for route in routes if route.target.store == target.store}
    taken = {name.lower() for name in (databases or ())} - {(name or "").lower() for name in of_copies}

    def is_free(name: str) -> bool:
        if name == database and databases is None and name not in of_copies:
            # It may be the database of an application.
            return False
        return name.lower() not in taken and not any(route.reads(target.store, name) for route in routes)

    names = [database, f"{database}_copy", *(f"{database}_copy_{number}" for number in range(2, 10))]
    free = next(filter(is_free, names), None)
    if free is None:
        raise CannotPropose(f"the server of the copy has databases {database}, {database}_copy and so on already")
    return target.model_copy(update={"database": free})


def _names(described: DescribedSource, target: AnyTarget) -> Mapping[tuple[str, ...], str]:
    """The names in the copy by the paths in the source."""
    names: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for part in (*described.key, *described.fields):
        name = legal_name(part.path[-1])
        if len(described.key) == 1 and part is described.key[0]:
            name = "_id" if target.has_document_keys else _without_underscore(name, described.fields)
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
    if not legal or legal[0].isdigit() or _RESERVED.match(legal):
        legal = f"source_{legal}"
    return legal[:_LONGEST_NAME]


def _route_lines(name: str, topic: str, target: AnyTarget, described: DescribedSource) -> list[str]:
    names = _names(described, target)
    key, fields = _field_lines(described.key, names), _field_lines(described.fields, names)
    has_fields = any(map(_is_copied, described.fields))
    return [
        f"{_flow(name)}:  # {_comment(f'{described.store} {described.place}, {described.remark}')}",
        f"  topic: {_flow(topic)}",
        f"  target: {_flow(target.model_dump())}",
        "  key:",
        *key,
        f"  fields:{'' if has_fields else ' {}'}",
        *fields,
    ]


def _is_copied(part: ProposedField) -> bool:
    """No path has a field without a name."""
    return part.type is not None and all(part.path)


def _field_lines(parts: Iterable[ProposedField], names: Mapping[tuple[str, ...], str]) -> list[str]:
    lines = []
    for part in parts:
        name, remark = names[part.path], _comment(part.remark)
        if not _is_copied(part):
            lines.append(f"    # not copied: {_comment('.'.join(part.path))}: {remark}")
            continue
        options: dict[str, object] = {}
        if part.path != (name,):
            has_dots = any("." in step for step in part.path)
            options["from"] = list(part.path) if has_dots else ".".join(part.path)
        options |= {"type": part.type, **part.options}
        lines.append(f"    {_flow(name)}: {_flow(part.type if list(options) == ['type'] else options)}  # {remark}")
    return lines


def _comment(text: str) -> str:
    """In one line, whatever the source's names have in them."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _flow(value: object) -> str:
    written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return written.removesuffix("...\n").strip()
