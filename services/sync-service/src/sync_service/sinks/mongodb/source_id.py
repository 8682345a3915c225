"""What identifies an `_id` of MongoDB where the key of the copy does not. Pure.

Different `_id`s may have the same key: an ObjectId and its 24 digits as text, 0.1 as a double and as a Decimal128, two
documents whose named fields are equal. MongoDB itself compares numbers by their value, so `1` and `1.0` are one `_id`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import Decimal128, ObjectId

from sync_service.debezium.extended_json import UUID_SUBTYPE

# An ObjectId has only one key, so its type suffices.
OBJECT_ID = "objectId"
_DIGEST_BYTES = 12


def source_id(identifier: Any) -> str:
    """At most 24 ASCII characters: equal for ids that MongoDB takes for one, different for all others.

    `identifier` is the `_id` of a decoded event, or of a document as the driver returns it.
    """
    if type(identifier) is ObjectId:
        return OBJECT_ID
    return hashlib.blake2b(_text(identifier).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _text(value: Any) -> str:
    """Unambiguous: a type, and a content of known length or alphabet."""
    for types, text in _TEXTS:
        if isinstance(value, types):
            return text(value)
    # A type that no key is made of.
    return f"?{type(value).__name__}:{value!r};"


def _moment(moment: datetime) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"d{aware.isoformat(timespec='milliseconds')};"


def _number(number: float | Decimal) -> str:
    """An exact fraction, because doubles and decimals are equal only if they have exactly the same value."""
    try:
        numerator, denominator = number.as_integer_ratio()
    except (ValueError, OverflowError):
        return f"n{number};"
    return f"n{numerator:x}/{denominator:x};"


def _fields(document: Mapping[str, Any]) -> str:
    return "".join(_text(name) + _text(item) for name, item in document.items())


# The order matters: a bool is an int, too.
_TEXTS: Sequence[tuple[type | tuple[type, ...], Callable[[Any], str]]] = (
    (str, lambda text: f"s{len(text)}:{text}"),
    (ObjectId, lambda value: f"o{value}"),
    (bool, lambda value: "t" if value else "f"),
    (type(None), lambda _value: "-"),
    ((int, float, Decimal), _number),
    (Decimal128, lambda number: _number(number.to_decimal())),
    (datetime, _moment),
    (UUID, lambda value: f"b{UUID_SUBTYPE}:{value.hex};"),
    (bytes, lambda content: f"b{getattr(content, 'subtype', 0)}:{content.hex()};"),
    (Mapping, lambda document: f"{{{_fields(document)}}}"),
    ((list, tuple), lambda items: f"[{''.join(map(_text, items))}]"),
)
