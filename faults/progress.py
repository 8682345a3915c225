"""Whether rows of a copy only ever go forward. No I/O.

A row's stamp is when it was created and, if it can change, what grows with each change. After a delete the same key may
come back, but only as a row that was created later.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Stamp: TypeAlias = tuple[Any, ...]

# The fields of the copy that make a stamp. A table that is not named here has rows that are created and deleted only.
STAMPS = {"users": ("created_at", "updated_at"), "tweets": ("created_at", "version")}
DEFAULT_STAMP = ("created_at",)


def stamp_fields(copy: str) -> tuple[str, ...]:
    return STAMPS.get(copy, DEFAULT_STAMP)


@dataclass(frozen=True)
class StepBack:
    """`place` is where in the target's log it is seen."""

    copy: str
    key: str
    before: str
    after: str
    place: str

    def __str__(self) -> str:
        return f"{self.copy} {self.key} went back from {self.before} to {self.after}, at {self.place}"


@dataclass
class Progress:
    """Fed with every state of every row, in the order of the target's log."""

    steps: int = 0
    back: list[StepBack] = field(default_factory=list)
    _newest: dict[tuple[str, str], tuple[Stamp, bool]] = field(default_factory=dict)

    def observe(self, copy: str, key: str, stamp: Stamp | None, place: str) -> None:
        """The row has this stamp now; None: it is deleted."""
        self.steps += 1
        newest, deleted = self._newest.get((copy, key), (None, False))
        if stamp is None:
            if newest is not None:
                self._newest[copy, key] = (newest, True)
            return
        if newest is not None and (stamp < newest or (deleted and stamp[0] <= newest[0])):
            before = f"deleted {_text(newest)}" if deleted else _text(newest)
            self.back.append(StepBack(copy, key, before, _text(stamp), place))
            return
        self._newest[copy, key] = (stamp, False)


def _text(stamp: Stamp) -> str:
    return " / ".join(map(str, stamp))
