"""Differences between a source row and the row of its copy. Pure."""

from dataclasses import dataclass
from enum import Enum

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
    """The rows of both sides with the same key, read at nearly the same time."""

    key: Key
    source: SourceRow | None
    copy: CopyRow | None

    def difference(self, canonical: CanonicalRow) -> Difference | None:
        """None if both rows are equal. A deleted row is absent in the copy, or a tombstone."""
        live = self.copy.values if self.copy is not None else None
        if self.source is None:
            return None if live is None else Difference(DifferenceKind.EXTRA, self.key)
        if self.source.values is None:
            return Difference(DifferenceKind.UNFIT, self.key, reason=self.source.problem)
        if live is None:
            return Difference(DifferenceKind.MISSING, self.key)
        fields = canonical.differing(self.source.values, live)
        return Difference(DifferenceKind.DIFFERENT, self.key, tuple(fields)) if fields else None
