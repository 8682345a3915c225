"""A change of one row of a copy."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sync_service.apply.ordering import Version

Key = tuple[Any, ...]


class Change(msgspec.Struct, frozen=True):
    """Upsert a row, or leave a tombstone (`values` is None).

    `superseded` is an earlier change that is left out if this one can be written. `committed_ms` is the time of the
    commit in the source, in milliseconds since the Unix epoch; None if unknown, as for a snapshot. `source_id`
    identifies the source row where different keys of the source may have this key (`Source.identify`).
    """

    key: Key
    values: Mapping[str, Any] | None
    version: Version
    superseded: "Change | None" = None
    committed_ms: int | None = None
    source_id: str = ""


def earlier(change: Change) -> Iterator[Change]:
    """The changes that are left out because this one is written, the latest first."""
    superseded = change.superseded
    while superseded is not None:
        yield superseded
        superseded = superseded.superseded
