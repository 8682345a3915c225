"""Rows and ranges of keys, as the readers of both sides of a route return them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync_service.apply.changes import Key
from sync_service.apply.ordering import Version


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
