"""A filter in extended JSON that a user gives. Pure."""

from collections.abc import Iterator
from typing import Any

from bson import json_util
from bson.errors import BSONError

from sync_service.sinks.rows import WrongCondition

# They run JavaScript on the server.
_CODE = frozenset({"$where", "$function", "$accumulator"})


def parsed_filter(text: str) -> dict[str, Any]:
    """Raises `WrongCondition`."""
    try:
        found = json_util.loads(text)
    except (ValueError, TypeError, ArithmeticError, RecursionError, BSONError) as error:
        raise WrongCondition(f"--where is no filter in extended JSON: {error}") from error
    if not isinstance(found, dict):
        raise WrongCondition("""--where is no filter: write a JSON object, such as {"status": "open"}""")
    if used := sorted(_CODE & set(_names(found))):
        raise WrongCondition(f"--where runs code ({', '.join(used)}): write it with other operators, such as $expr")
    return found


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _names(part)
