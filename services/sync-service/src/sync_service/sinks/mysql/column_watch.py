"""Watches the types of the columns that routes copy from MySQL."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.kafka.deadlines import answering
from sync_service.routes.config import Route
from sync_service.routes.converters import Conversion
from sync_service.sinks.mysql.type_fit import comparable_type, misfit
from sync_service.source_watch.states import COLUMN
from sync_service.source_watch.watch import FoundGaps, UnfitFields

_COLUMNS = text(
    "SELECT table_schema, table_name, column_name, column_type FROM information_schema.columns "
    "WHERE (table_schema, table_name) IN :places"
).bindparams(bindparam("places", expanding=True))
_OF_CONVERSION = {"type", "length", "precision", "scale", "zero_dates"}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of the route of `topic`. `declared` are the members of its declaration that decide the conversion."""

    topic: str
    name: str
    conversion: Conversion
    must_exist: bool
    declared: str


@dataclass(frozen=True)
class _Column:
    """A column, with the fields that are read from it."""

    schema: str
    table: str
    name: str
    fields: list[_Field] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"

    @cached_property
    def declared(self) -> str:
        """Differs if a field is declared in another way. Only for a column with all its fields."""
        declarations = sorted((each.name, each.declared) for each in self.fields)
        return hashlib.sha256(json.dumps(declarations).encode()).hexdigest()[:16]


class _Types:
    """The present types of the columns of some tables, as `comparable_type` returns them."""

    def __init__(self) -> None:
        self._by_table: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)

    def add(self, schema: str, table: str, column: str, column_type: str) -> None:
        self._by_table[schema.lower(), table.lower()][column] = comparable_type(column_type)

    def of(self, column: _Column) -> str | None:
        return self._by_table.get((column.schema.lower(), column.table.lower()), {}).get(column.name)

    def has_table(self, column: _Column) -> bool:
        return (column.schema.lower(), column.table.lower()) in self._by_table


class ColumnWatch:
    """Compares each column with its type when its fields were declared, which is stored: a restart hides no change.

    With another type in the declaration, the operator has decided for the type that the column has by then.
    """

    def __init__(self, routes: Sequence[Route], engine: AsyncEngine, found: FoundGaps) -> None:
        self._engine = engine
        self._found = found
        self._tables = list(dict.fromkeys(route.source for route in routes if route.source is not None))
        self._columns = _columns(routes)
        # The stored states, by the place of the column.
        self._states: Mapping[str, str] = {}

    async def store_types(self) -> None:
        """Store the types of columns whose fields are new or declared in another way. One process does it at a time.

        Raises `Unavailable`.
        """
        types = await self._types()
        if not any(self._unknown(types)):
            return
        self._states = await self._found.states(COLUMN)
        for column, current in self._unknown(types):
            await self._found.store(COLUMN, column.place, f"{column.declared} {current}", [])

    async def unfit_fields(self) -> UnfitFields:
        """Those of columns whose type has changed so that it no longer fits, or that are gone. Raises `Unavailable`."""
        types = await self._types()
        if any(self._unknown(types)):
            self._states = await self._found.states(COLUMN)
        unfit: dict[str, dict[str, str]] = defaultdict(dict)
        for column in self._columns:
            former = self._former(column)
            # A table that is gone puts its copies in doubt.
            if former is not None and types.has_table(column):
                for each in column.fields:
                    if (reason := _reason(each, column.name, former, types.of(column))) is not None:
                        unfit[each.topic][each.name] = reason
        return unfit

    async def _types(self) -> _Types:
        types = _Types()
        if self._tables:
            async with answering(), self._engine.connect() as connection:
                for row in await connection.execute(_COLUMNS, {"places": self._tables}):
                    types.add(*row)
        return types

    def _unknown(self, types: _Types) -> Iterator[tuple[_Column, str]]:
        """The columns whose type is not stored for the present declaration, with their types."""
        for column in self._columns:
            current = types.of(column)
            if current is not None and self._former(column) is None:
                yield column, current

    def _former(self, column: _Column) -> str | None:
        declared, _, former = self._states.get(column.place, "").partition(" ")
        return former if declared == column.declared else None


def _columns(routes: Sequence[Route]) -> Sequence[_Column]:
    columns: dict[tuple[str, str, str], _Column] = {}
    for route in routes:
        if route.source is None:
            continue
        declared = {**route.key, **route.fields, **route.inputs}
        for name, path in route.read_paths.items():
            is_key = name in route.key
            if is_key:
                mapped = declared[name].mapped_key(name, route.target)
            else:
                mapped = declared[name].mapped(name, route.target, is_variable=True)
            # No column has documents: a longer path never fits, whatever its type.
            if mapped.conversion is not None and len(path) == 1:
                place = (*route.source, path[0])
                must_exist = is_key or mapped.must_exist
                as_json = declared[name].model_dump_json(include=_OF_CONVERSION)
                columns.setdefault(place, _Column(*place)).fields.append(
                    _Field(route.topic, name, mapped.conversion, must_exist, as_json)
                )
    return list(columns.values())


def _reason(declared: _Field, column: str, former: str, current: str | None) -> str | None:
    if former == current:
        return None
    if current is None:
        return f"the source has no column {column} any more" if declared.must_exist else None
    reason = misfit(current, declared.conversion, former)
    return None if reason is None else f"the column {column} was {former} and is {current}: {reason}"
