"""What both sides of a route hand out, and what it says about them if they are held against each other. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sync_service.apply.changes import Key
from sync_service.apply.ordering import Version
from sync_service.reconciliation.canonical import CanonicalRow


class CannotCompare(Exception):  # noqa: N818 - what follows for the command
    """One sentence about why there is no answer."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A key at which a range begins or ends: as the source's driver has it, and as the copy has it."""

    native: Any
    key: Key


@dataclass(frozen=True, slots=True)
class KeyRange:
    """From `lower` on, up to but without `upper`. Without a bound, there is none on that side.

    In each store it is a range of the store's own order. Where these orders differ, a range of one side does not hold
    the same rows as that of the other; but all ranges together hold all rows of both.
    """

    lower: Bound | None = None
    upper: Bound | None = None

    @property
    def natives(self) -> tuple[Any, Any]:
        """The bounds for the source; None where there is none."""
        return self.lower.native if self.lower else None, self.upper.native if self.upper else None

    @property
    def keys(self) -> tuple[Key | None, Key | None]:
        """The bounds for the copy."""
        return self.lower.key if self.lower else None, self.upper.key if self.upper else None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What the copy should have: `values`, or None and the `problem` for which no copy can have it.

    If it `has_no_key`, not even its key fits; then `key` is the source's, to be shown.
    """

    key: Key
    values: Mapping[str, Any] | None
    problem: str | None = None
    has_no_key: bool = False


@dataclass(frozen=True, slots=True)
class CopyRow:
    """`values` are None in a tombstone. Without a `version`, no sync has written it."""

    key: Key
    values: Mapping[str, Any] | None
    version: Version | None


class DifferenceKind(Enum):
    """How a copy is not as it should be."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"
    UNFIT = "unfit"  # a row of the source that no copy can have; its dead letter says so too


@dataclass(frozen=True, slots=True)
class Difference:
    """`fields` are the names of those that differ; `reason` is why a row is unfit, or why it can't be mended."""

    kind: DifferenceKind
    key: Key
    fields: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RowPair:
    """Both sides of a key, at nearly the same time."""

    key: Key
    source: SourceRow | None
    copy: CopyRow | None

    @property
    def has_live_copy(self) -> bool:
        return self.copy is not None and self.copy.values is not None

    def difference(self, canonical: CanonicalRow) -> Difference | None:
        """A row that was deleted is absent in the copy, or a tombstone."""
        live = self.copy.values if self.copy is not None else None
        if self.source is None:
            return None if live is None else Difference(DifferenceKind.EXTRA, self.key)
        if self.source.values is None:
            return Difference(DifferenceKind.UNFIT, self.key, reason=self.source.problem)
        if live is None:
            return Difference(DifferenceKind.MISSING, self.key)
        fields = canonical.differing(self.source.values, live)
        return Difference(DifferenceKind.DIFFERENT, self.key, tuple(fields)) if fields else None
