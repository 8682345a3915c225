"""Detection of rows of a copy that regress to an older version. No I/O.

A row's version is its time of creation and, if it can change, a field that grows with each change. After a delete the
same key may return, but only as a row that was created later.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

RowVersion: TypeAlias = tuple[Any, ...]

# The fields of a copy that make a version. Rows of other tables are only created and deleted.
VERSION_FIELDS = {"users": ("created_at", "updated_at"), "tweets": ("created_at", "version")}
DEFAULT_VERSION_FIELDS = ("created_at",)


def version_fields(copy: str) -> tuple[str, ...]:
    return VERSION_FIELDS.get(copy, DEFAULT_VERSION_FIELDS)


@dataclass(frozen=True)
class Regression:
    """`place` is the position in the target's log."""

    copy: str
    key: str
    before: str
    after: str
    place: str

    def __str__(self) -> str:
        return f"{self.copy} {self.key} from {self.before} to {self.after}, at {self.place}"


@dataclass
class RegressionDetector:
    """Takes every state of every row, in the order of the target's log."""

    observed: int = 0
    found: list[Regression] = field(default_factory=list)
    _newest: dict[tuple[str, str], tuple[RowVersion, bool]] = field(default_factory=dict)

    def observe(self, copy: str, key: str, version: RowVersion | None, place: str) -> None:
        """Note the row's version; None: it is deleted."""
        self.observed += 1
        newest, deleted = self._newest.get((copy, key), (None, False))
        if version is None:
            if newest is not None:
                self._newest[copy, key] = (newest, True)
            return
        if newest is not None and (version < newest or (deleted and version[0] <= newest[0])):
            before = f"deleted {_text(newest)}" if deleted else _text(newest)
            self.found.append(Regression(copy, key, before, _text(version), place))
            return
        self._newest[copy, key] = (version, False)


def _text(version: RowVersion) -> str:
    return " / ".join(map(str, version))
