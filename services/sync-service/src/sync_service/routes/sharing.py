"""Several routes into one copy: each has rows of its own, by a constant as a part of the key. Pure."""

from sync_service.routes.config import CopiedField, Route
from sync_service.routes.converters import type_of_constant

_OPTIONS = ("deletes", "tombstones", "indexes")


def sharing_problem(route: Route, other: Route) -> str | None:
    """Why two routes can't have the same target; None if they can."""
    ours, theirs = route.key_constants, other.key_constants
    if not any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
        return "give both a constant as the same part of the key, with different values"
    for what, declared, others, text in (
        ("key", route.key, other.key, "string"),
        ("fields", route.fields, other.fields, "text"),
    ):
        if list(declared) != list(others):
            return f"their {what} must have the same names in the same order"
        if wrong := [name for name, field in declared.items() if _column(field, text) != _column(others[name], text)]:
            return f"{what}.{wrong[0]} must have the same type, length, precision and scale in both"
    if wrong := [option for option in _OPTIONS if getattr(route, option) != getattr(other, option)]:
        return f"{wrong[0]} must be the same in both"
    return None


def _column(field: CopiedField, text: str) -> tuple[object, ...]:
    """`text` is the type of a column for a constant text."""
    kind = type_of_constant(field.constant) if field.is_constant else field.type
    return (text if field.is_constant and kind == "string" else kind, field.length, field.precision, field.scale)
