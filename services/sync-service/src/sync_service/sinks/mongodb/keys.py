"""The key of a copy in MongoDB as its `_id`, and back. Pure.

BSON has its own class for decimals, and the driver returns naive datetimes. A key in Python has neither, so that the
keys of both sides of a comparison are equal.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128

from sync_service.apply.changes import Key
from sync_service.routes.mapping import DocumentId


def stored_id(key: Key) -> Any:
    """The `_id` of a document with this key."""
    identifier = key[0]
    if type(identifier) is DocumentId:
        return {name: stored_value(part) for name, part in identifier.items()}
    return stored_value(identifier)


def stored_value(value: Any) -> Any:
    return Decimal128(value) if isinstance(value, Decimal) else value


def key_of(identifier: Any) -> Key:
    """The key of a document with this `_id`."""
    if isinstance(identifier, dict):
        return (DocumentId({name: _loaded(part) for name, part in identifier.items()}),)
    return (_loaded(identifier),)


def _loaded(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return bytes(value) if isinstance(value, bytes) else value
