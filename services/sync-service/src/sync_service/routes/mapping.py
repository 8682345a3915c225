"""From a source row to a row of the copy."""

from collections.abc import Mapping
from typing import Any

from sync_service.events.envelope import Row
from sync_service.events.problems import MissingKey, UnfitValue
from sync_service.routes.models import CopiedField, Route
from sync_service.routes.types import convert


def map_key(route: Route, key: Row) -> tuple[Any, ...]:
    """The key of the copy, in the order of the route. Raises `MissingKey`, `UnfitValue`."""
    values = tuple(_mapped(name, field, key) for name, field in route.key.items())
    if any(value is None for value in values):
        raise MissingKey(f"the key {key} lacks what route {route.name} takes its key from")
    return values


def map_fields(route: Route, row: Row) -> Mapping[str, Any]:
    """Everything but the key. Raises `UnfitValue`, which names the field."""
    return {name: _mapped(name, field, row) for name, field in route.fields.items()}


def _mapped(name: str, field: CopiedField, row: Row) -> Any:
    if field.is_constant:
        return field.constant
    try:
        return convert(row.get(field.source or name), field.type)
    except UnfitValue as error:
        raise UnfitValue(f"{name}: {error}") from error
