"""Records that no copy can apply, made from valid ones. No I/O."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import token_hex
from typing import Any

from faults.topics import MARKER, Record

Mutation = Callable[[Record], Record]


def is_usable(record: Record) -> bool:
    """Whether the record contains a row, so that the row can be damaged."""
    return (
        record.value is not None and MARKER not in record.headers and json.loads(record.value).get("after") is not None
    )


def poisoned(kind: str, record: Record, marker: str) -> Record:
    """Return the damaged record, with a header that identifies its dead letter."""
    return replace(KINDS[kind](record), headers={**record.headers, MARKER: marker.encode()})


def kinds_for(topic: str) -> list[str]:
    """Return the kinds that apply to the topic: only columns of MySQL have a width."""
    return [kind for kind in KINDS if kind != "too long" or topic.endswith(".tweets")]


def _with_value(value: bytes) -> Mutation:
    return lambda record: replace(record, value=value)


def _envelope(**changed: Any) -> Mutation:
    return lambda record: replace(record, value=json.dumps({**_parsed(record), **changed}).encode())


def _row(**changed: Any) -> Mutation:
    """Change fields of the row. Rows of MongoDB are JSON in a string."""

    def mutate(record: Record) -> Record:
        envelope = _parsed(record)
        after = envelope["after"]
        row = {**(json.loads(after) if isinstance(after, str) else after), **changed}
        envelope["after"] = json.dumps(row) if isinstance(after, str) else row
        return replace(record, value=json.dumps(envelope).encode())

    return mutate


def _too_long(record: Record) -> Record:
    """Only the store rejects it. It has a new key, so that no later event of the row replaces it in the batch."""
    new_id = {"$oid": token_hex(12)}
    return replace(_row(lang="x" * 100, _id=new_id)(record), key=json.dumps({"id": json.dumps(new_id)}).encode())


def _parsed(record: Record) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(record.value or b"{}")
    return parsed


KINDS: Mapping[str, Mutation] = {
    "cut off": lambda record: replace(record, value=(record.value or b"")[:-20]),
    "not UTF-8": _with_value(b'{"op": "c", "after": "\xff\xfe"}'),
    "not an object": _with_value(b"[1, 2, 3]"),
    "NaN": _row(version=float("nan")),
    "nested too deeply": _with_value(b"[" * 50_000),
    "unknown op": _envelope(op="x"),
    "truncate": _envelope(op="t"),
    "no source": _envelope(source=None),
    "no key": lambda record: replace(record, key=None),
    "key of another table": lambda record: replace(record, key=b'{"other": 1}'),
    "does not fit": _row(created_at="yesterday"),
    "too long": _too_long,
}
