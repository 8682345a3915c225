"""What writers asked for and what was acknowledged: by row, the states that the source may be in. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# Fields that a row must have with these values; None: there is no such row.
State: TypeAlias = Mapping[str, Any] | None
# Name of the table or collection, and the key as text.
RowId: TypeAlias = tuple[str, str]


@dataclass
class Journal:
    """`surprises` are answers that no system may give, not even a failing one: that an own tweet is not found."""

    acknowledged: int = 0
    uncertain: int = 0
    surprises: list[str] = field(default_factory=list)
    _acceptable: dict[RowId, tuple[State, ...]] = field(default_factory=dict)

    def note_acknowledged(self, table: str, key: str, state: State) -> None:
        """The answer came: nothing but this state is acceptable any more."""
        self.acknowledged += 1
        self._acceptable[table, key] = (state,)

    def note_uncertain(self, table: str, key: str, state: State) -> None:
        """No answer came, or one that tells nothing: what was before and what was asked for are both acceptable.

        Writers leave such a row alone from then on, so it stays a choice of two.
        """
        self.uncertain += 1
        before = self._acceptable.get((table, key), (None,))
        self._acceptable[table, key] = (*before, state)

    def current(self, table: str, key: str) -> State:
        """The latest state that was acknowledged."""
        return self._acceptable.get((table, key), (None,))[0]

    def lost(self, sources: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[RowId, str]:
        """Rows whose source is in no acceptable state. `sources`: by table, by key, the row."""
        wrong = {}
        for (table, key), acceptable in self._acceptable.items():
            row = sources[table].get(key)
            if not any(_matches(row, state) for state in acceptable):
                wrong[table, key] = (
                    f"is {_excerpt(row, acceptable)}, acknowledged was {' or '.join(map(str, acceptable))}"
                )
        return wrong


def _matches(row: Mapping[str, Any] | None, state: State) -> bool:
    if row is None or state is None:
        return row is None and state is None
    return all(row.get(name) == value for name, value in state.items())


def _excerpt(row: Mapping[str, Any] | None, acceptable: tuple[State, ...]) -> str:
    names = {name for state in acceptable if state is not None for name in state}
    return "absent" if row is None else str({name: row.get(name) for name in sorted(names)})
