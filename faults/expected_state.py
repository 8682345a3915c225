"""The states that each source row may be in, derived from acknowledged and unanswered writes. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# Field values that a row must have; None: the row must not exist.
State: TypeAlias = Mapping[str, Any] | None
# Table or collection, and the key as text.
RowId: TypeAlias = tuple[str, str]


@dataclass
class ExpectedState:
    """`unexpected` are responses that even a failing system must not give, such as 404 for an existing tweet."""

    acknowledged: int = 0
    uncertain: int = 0
    unexpected: list[str] = field(default_factory=list)
    _acceptable: dict[RowId, tuple[State, ...]] = field(default_factory=dict)

    def note_acknowledged(self, table: str, key: str, state: State) -> None:
        """The write succeeded: from now on only this state is acceptable."""
        self.acknowledged += 1
        self._acceptable[table, key] = (state,)

    def note_uncertain(self, table: str, key: str, state: State) -> None:
        """The outcome is unknown: the states before and after the write are both acceptable.

        Writers never write to such a row again, so there are never more than two.
        """
        self.uncertain += 1
        before = self._acceptable.get((table, key), (None,))
        self._acceptable[table, key] = (*before, state)

    def lost(self, sources: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[RowId, str]:
        """Return the rows in no acceptable state, with an explanation. `sources`: rows by table and key."""
        lost = {}
        for (table, key), acceptable in self._acceptable.items():
            row = sources[table].get(key)
            if not any(_matches(row, state) for state in acceptable):
                lost[table, key] = f"is {_excerpt(row, acceptable)}, expected {' or '.join(map(str, acceptable))}"
        return lost


def _matches(row: Mapping[str, Any] | None, state: State) -> bool:
    if row is None or state is None:
        return row is None and state is None
    return all(row.get(name) == value for name, value in state.items())


def _excerpt(row: Mapping[str, Any] | None, acceptable: tuple[State, ...]) -> str:
    names = {name for state in acceptable if state is not None for name in state}
    return "absent" if row is None else str({name: row.get(name) for name in sorted(names)})
