"""Maps a source row to a row of the copy."""

from collections.abc import Mapping
from typing import Any

from sync_service.debezium.errors import MissingKey
from sync_service.debezium.source import Row
from sync_service.routes.config import Route


class DocumentId(dict[str, Any]):
    """A document that is an `_id`. It is hashable like any other key, because it is never changed."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none because it can be changed
        try:
            return hash(tuple(self.items()))
        except TypeError:  # a document in it
            return hash(repr(self))


def map_event_key(route: Route, key: Row) -> tuple[Any, ...]:
    """`map_key` of an event's key, of which the route must take every field: it would merge rows that differ in others.

    Raises `MissingKey`, `UnfitValue`.
    """
    mapped = map_key(route, key)
    if not key.keys() <= route.key_columns:
        columns = ", ".join(sorted(key.keys() - route.key_columns))
        raise MissingKey(f"route {route.name} does not take {columns} into its key, so different rows would become one")
    return mapped


def map_key(route: Route, key: Row) -> tuple[Any, ...]:
    """The key of the copy, in the order of the route: one document if it is `is_keyed_by_document`.

    Raises `MissingKey`, `UnfitValue`. Both name the field, and not its value.
    """
    values = route.key_mapping(key)
    found = tuple(values.values())
    if None in found:
        lacking = ", ".join(name for name, value in values.items() if value is None)
        raise MissingKey(f"the key lacks what route {route.name} takes {lacking} from")
    return (DocumentId(values),) if route.is_keyed_by_document else found


def map_fields(route: Route, row: Row) -> Mapping[str, Any] | None:
    """Everything but the key; None for a row that is not in the copy. Raises `UnfitValue`, which names the field."""
    return route.fields_mapping(row)
