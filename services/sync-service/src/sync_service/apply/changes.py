"""What is to be done to one row of a copy."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sync_service.apply.ordering import Version

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


def earlier(change: Change) -> Iterator[Change]:
    """Those that are left out because this one is written, the latest first."""
    superseded = change.superseded
    while superseded is not None:
        yield superseded
        superseded = superseded.superseded
