"""Detection of rows of a copy that regress to an older version. No I/O.

A row's version is its time of creation and, if it can change, a field that grows with each change. After a delete the
same key may return, but only as a row that was created later.

The order of two changes of MongoDB that are less than a minute apart can't be proved, nor that of two transactions that
were committed on different MySQL servers, so the sync applies both: while Kafka Connect repeats itself, a row may go
back for a moment. Such steps are counted, and are no regressions.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sync_service.debezium.positions import LogPosition

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
    unprovable: int = 0
    found: list[Regression] = field(default_factory=list)
    _newest: dict[tuple[str, str], "_Newest"] = field(default_factory=dict)

    def observe(
        self, copy: str, key: str, version: RowVersion | None, place: str, position: LogPosition | None = None
    ) -> None:
        """Note the row's version; None: it is deleted. `position` is that of its transaction in the source's log."""
        self.observed += 1
        newest = self._newest.get((copy, key))
        if version is None:
            if newest is not None:
                if not newest.is_deleted and position is not None and position.precedes(newest.position):
                    self.found.append(Regression(copy, key, str(newest), "deleted", place))
                self._newest[copy, key] = _Newest(newest.version, position, is_deleted=True)
            return
        if newest is not None and newest.is_above(version):
            if _is_in_doubt(position, newest.position):
                self.unprovable += 1
                if newest.is_deleted:
                    # Its delete is repeated, too: the row returns, and later changes of it are no regressions.
                    self._newest[copy, key] = _Newest(max(version, newest.version), position)
            else:
                self.found.append(Regression(copy, key, str(newest), _text(version), place))
            return
        self._newest[copy, key] = _Newest(version, position)


@dataclass(frozen=True)
class _Newest:
    version: RowVersion
    position: LogPosition | None
    is_deleted: bool = False

    def is_above(self, version: RowVersion) -> bool:
        return version < self.version or (self.is_deleted and version[0] <= self.version[0])

    def __str__(self) -> str:
        return f"deleted {_text(self.version)}" if self.is_deleted else _text(self.version)


def _is_in_doubt(position: LogPosition | None, newest: LogPosition | None) -> bool:
    """Are both of one log, or of two servers of MySQL, and is neither provably older?"""
    if position is None or newest is None:
        return False
    if position.generation != newest.generation and not _are_of_two_servers(position.generation, newest.generation):
        return False
    return not position.precedes(newest) and not newest.precedes(position)


def _are_of_two_servers(one: str, other: str) -> bool:
    """Generations of MySQL end with the id of the server. One server may begin a new log, but orders its changes."""
    logs = (one, other)
    return all(log.startswith("mysql-") for log in logs) and len({log.rpartition("/")[2] for log in logs}) == len(logs)


def _text(version: RowVersion) -> str:
    return " / ".join(map(str, version))
