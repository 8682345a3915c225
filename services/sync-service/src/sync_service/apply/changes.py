"""What is to be done to one row of a copy, and how many changes are written at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sync_service.apply.rule import Version, supersedes

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Upsert a row, or leave a tombstone (`values` is None).

    `superseded` is an earlier change that need not be written if this one can be.
    """

    key: Key
    values: Mapping[str, Any] | None
    version: Version
    superseded: "Change | None" = None


def chunks(changes: Iterable[Change], size: int) -> Iterator[list[Change]]:
    """Split into lists of at most `size`, each key at most once in each; changes of one key stay in their order."""
    chunk: dict[Key, Change] = {}
    for change in changes:
        earlier = chunk.get(change.key)
        if earlier is None:
            chunk[change.key] = change
        elif supersedes(change.version, earlier.version):
            chunk[change.key] = replace(change, superseded=earlier)
        else:
            yield list(chunk.values())
            chunk = {change.key: change}
        if len(chunk) >= size:
            yield list(chunk.values())
            chunk = {}
    if chunk:
        yield list(chunk.values())
