"""Rows and ranges of keys, as the readers of both sides of a route return them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_service.apply.changes import Key
from sync_service.apply.ordering import Version

# Why a store refuses a mapped row, by its key and its other fields; None if it takes it.
RowRefusal = Callable[[Key, Mapping[str, Any]], str | None]


class CannotCompare(Exception):  # noqa: N818 - the result of the command
    """A comparison is not possible. The message is one sentence."""


class WrongCondition(CannotCompare):
    """A condition for the rows of a source is wrong, or does more than select rows."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A key at which a range begins or ends, as the source's driver has it and as the copy has it."""

    native: Any
    key: Key


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from `lower` up to but without `upper`. A side without a bound is open.

    It is a range in each store's own order. Where the orders differ, a range has different rows on both sides, but all
    ranges together have all rows of both.
    """

    lower: Bound | None = None
    upper: Bound | None = None

    @property
    def natives(self) -> tuple[Any, Any]:
        """The bounds for the source; None for an open side."""
        return self.lower.native if self.lower else None, self.upper.native if self.upper else None

    @property
    def keys(self) -> tuple[Key | None, Key | None]:
        """The bounds for the copy."""
        return self.lower.key if self.lower else None, self.upper.key if self.upper else None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """The mapped row: `values`, or None and the `problem` if the copy can't store it.

    `native` is its key as the source's driver has it. Rows of different natives may have the same key in the copy;
    then `source_id` distinguishes them (`Change.source_id`). If the row `has_no_key`, its key does not fit either.
    Then `key` is that of the source, for the report.
    """

    key: Key
    values: Mapping[str, Any] | None
    problem: str | None = None
    has_no_key: bool = False
    native: Any = None
    source_id: str = ""


@dataclass(frozen=True, slots=True)
class CopyRow:
    """`values` is None for a tombstone. A row without a `version` was not written by the sync.

    `source_id` is that of the source row that was written last; empty if unknown.
    """

    key: Key
    values: Mapping[str, Any] | None
    version: Version | None
    source_id: str = ""


@dataclass(frozen=True, slots=True)
class RowRequest:
    """A request for the source rows with this key of the copy.

    `natives` are those of rows that are known to have it, `source_id` is that of the row in the copy, if it is known.
    """

    key: Key
    natives: Sequence[Any] = ()
    source_id: str = ""

    def is_answered(self, rows: Sequence[SourceRow]) -> bool:
        """Is the row among these that the copy has, if it still exists?"""
        return any(row.source_id == self.source_id for row in rows) if self.source_id else bool(rows)
