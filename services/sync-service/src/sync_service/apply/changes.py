"""What is to be done to one row of a copy, and how many changes are written at once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from sync_service.apply.rule import Version, supersedes

Key = tuple[Any, ...]


class Change(msgspec.Struct, frozen=True):
    """Upsert a row, or leave a tombstone (`values` is None).

    `superseded` is an earlier change that need not be written if this one can be. `committed_ms` is when the source
    committed it, in milliseconds since the epoch, if that is known (of a snapshot it is not).
    """

    key: Key
    values: Mapping[str, Any] | None
    version: Version
    superseded: "Change | None" = None
    committed_ms: int | None = None


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


def earlier(change: Change) -> Iterator[Change]:
    """Those that are left out because this one is written, the latest first."""
    superseded = change.superseded
    while superseded is not None:
        yield superseded
        superseded = superseded.superseded
