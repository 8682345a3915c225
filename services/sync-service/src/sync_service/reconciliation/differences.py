"""Differences between a source row and the row of its copy. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sync_service.apply.changes import Key
from sync_service.sinks.canonical import CanonicalRow
from sync_service.sinks.rows import CopyRow, SourceRow


class DifferenceKind(Enum):
    """How a row of the copy differs from its source."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"
    UNFIT = "unfit"  # a source row that the copy can't store; its event is a dead letter


@dataclass(frozen=True, slots=True)
class Difference:
    """`fields` are the names of the differing fields. `reason` is why a row is unfit or can't be repaired."""

    kind: DifferenceKind
    key: Key
    fields: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RowPair:
    """The rows of both sides with the same key, read at nearly the same time.

    `others` are further rows of the source with this key. The copy has the first that was written; the events of the
    others are dead letters.
    """

    key: Key
    source: SourceRow | None
    copy: CopyRow | None
    others: tuple[SourceRow, ...] = ()

    @classmethod
    def of(cls, key: Key, sources: Sequence[SourceRow], copy: CopyRow | None) -> "RowPair":
        """The pair of the source row that the row of the copy comes from, or of any if that is unknown."""
        is_known = copy is not None and copy.source_id
        chosen = next((row for row in sources if is_known and copy and row.source_id == copy.source_id), None)
        source = chosen or next(iter(sources), None)
        return cls(key, source, copy, tuple(row for row in sources if row is not source))

    def difference(self, canonical: CanonicalRow) -> Difference | None:
        """None if both rows are equal. A deleted row is absent in the copy, or a tombstone."""
        live = self.copy.values if self.copy is not None else None
        if self.source is None:
            return None if live is None else Difference(DifferenceKind.EXTRA, self.key)
        if self.source.values is None:
            return Difference(DifferenceKind.UNFIT, self.key, reason=self.source.problem)
        if live is None:
            return Difference(DifferenceKind.MISSING, self.key)
        return self._of_values(canonical, self.source.values, live)

    def _of_values(
        self, canonical: CanonicalRow, source: Mapping[str, Any], copy: Mapping[str, Any]
    ) -> Difference | None:
        if fields := canonical.differing(source, copy):
            return Difference(DifferenceKind.DIFFERENT, self.key, tuple(fields))
        if self.source and self.copy and self.copy.source_id not in ("", self.source.source_id):
            return Difference(DifferenceKind.DIFFERENT, self.key, reason="it comes from another row of the source")
        if self.others:
            natives = ", ".join(repr(row.native) for row in self.others)
            return Difference(
                DifferenceKind.UNFIT, self.key, reason=f"other rows of the source have its key: {natives}"
            )
        return None
