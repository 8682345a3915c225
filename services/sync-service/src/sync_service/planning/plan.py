"""What a changed route would do to the rows of its copy and to the events of its topic. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

from sync_service.apply.changes import Key
from sync_service.routes.changes import is_same
from sync_service.routes.config import Route
from sync_service.routes.personal import MASK, PersonalRows
from sync_service.sinks.canonical import CanonicalField, Column, canonical_field
from sync_service.sinks.rows import RowRefusal, SourceRow

SAMPLES = 10

ChangeKind = Literal["new", "changed", "removed", "unchanged"]
SampleKind = Literal["changed", "added", "removed", "unfit"]

# A field is compared by its type in the route alone.
_NO_COLUMN = Column("", "constant")
_NAMED = ("key", "fields", "inputs")


@dataclass(frozen=True, slots=True)
class Sample:
    """A row before and after, with personal values masked. A side is None if the row is not in the copy.

    `reason` is why the copy can't store it.
    """

    kind: SampleKind
    key: Any
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    fields: Sequence[str] = ()
    reason: str | None = None


@dataclass(slots=True)
class RowsPlan:
    """Numbers of source rows. `total` is an estimate unless all rows are `read`.

    `changed`, `added` and `removed` are rows of the copy. `unfit` rows can't be stored: their next events would be dead
    letters, and are none now, perhaps because the route is new or its `where` leaves them out. `unfit_already` can't be
    stored under the live route either.
    """

    read: int = 0
    total: int = 0
    is_complete: bool = False
    changed: int = 0
    added: int = 0
    removed: int = 0
    unchanged: int = 0
    unfit: int = 0
    unfit_already: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class EventsPlan:
    """Numbers of retained records. `dead_letters_already` are dead letters under the live route, too.

    `reasons` are those of the `dead_letters`, which are none now, `examples` a place `topic-partition@offset` for each.
    """

    read: int = 0
    total: int = 0
    dead_letters: int = 0
    dead_letters_already: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, place: str, reason: str | None, *, is_dead_letter_already: bool) -> None:
        """One record. `reason` is why it would be a dead letter; None if it would not."""
        self.read += 1
        if reason is None:
            return
        if is_dead_letter_already:
            self.dead_letters_already += 1
            return
        self.dead_letters += 1
        self.reasons[reason] += 1
        self.examples.setdefault(reason, place)


@dataclass(slots=True)
class RoutePlan:
    """`parts` of the declaration differ from the live one. `statements` are what the copy needs.

    `refused` is why the store refuses the copy, `problems` are why something could not be determined. Without `rows` or
    `events`, they are not needed or not known.
    """

    name: str
    change: ChangeKind
    source: str
    target: str
    parts: Sequence[str] = ()
    statements: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    refused: str | None = None
    rows: RowsPlan | None = None
    events: EventsPlan | None = None
    samples: Sequence[Sample] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def loses_data(self) -> bool:
        """Would rows or events become dead letters that are none now?"""
        unfit = self.rows.unfit if self.rows else 0
        return self.refused is not None or bool(unfit) or bool(self.events and self.events.dead_letters)


def changed_parts(before: Route, after: Route) -> list[str]:
    """The parts of the declarations that differ: `where`, `fields.title`."""
    parts: list[str] = []
    for part in Route.model_fields:
        one, other = getattr(before, part), getattr(after, part)
        if part in _NAMED:
            names = [*one, *(name for name in other if name not in one)]
            parts += [f"{part}.{name}" for name in names if repr(one.get(name)) != repr(other.get(name))]
        elif one != other or repr(one) != repr(other):
            parts.append(part)
    return parts or ([] if is_same(before, after) else ["the order of the fields"])


def keeps_copy(before: Route, after: Route) -> bool:
    """Does the copy of the live route become the copy of the changed one?

    The sync moves a copy from the database of the store's address to the one that a route names then.
    """
    one, other = before.target, after.target
    is_moved = one.database is None or one.database == other.database
    return before.topic == after.topic and (one.store, one.name) == (other.store, other.name) and is_moved


@dataclass(frozen=True, slots=True)
class Copy:
    """A route, and which rows the store of its copy refuses."""

    route: Route
    refused: RowRefusal

    def checked(self, row: SourceRow | None) -> SourceRow | None:
        """The row without values if the store refuses them."""
        if row is None or row.values is None or (reason := self.refused(row.key, row.values)) is None:
            return row
        return replace(row, values=None, problem=reason)


class RowClassifier:
    """Counts what becomes of rows, and keeps samples. `before` is None for a route without a copy."""

    def __init__(self, before: Copy | None, after: Copy) -> None:
        self.plan = RowsPlan()
        self._before, self._after = before, after
        self._personal = PersonalRows([copy.route for copy in (before, after) if copy is not None])
        self._texts_before = {} if before is None else _texts(before.route)
        self._texts_after = _texts(after.route)
        self._samples: dict[SampleKind, list[Sample]] = {"unfit": [], "changed": [], "removed": [], "added": []}

    @property
    def samples(self) -> list[Sample]:
        """Some of each kind, if there are."""
        in_turn = [each for turn in zip_longest(*self._samples.values()) for each in turn if each is not None]
        return in_turn[:SAMPLES]

    def note(self, before: SourceRow | None, after: SourceRow | None) -> None:
        """One row of the source, as both routes map it."""
        self.plan.read += 1
        before = before if self._before is None else self._before.checked(before)
        after = self._after.checked(after)
        if after is not None and after.values is None:
            if before is not None and before.values is None:
                self.plan.unfit_already += 1
                return
            self.plan.unfit += 1
            self.plan.reasons[after.problem or ""] += 1
            self._sample("unfit", before, after, reason=after.problem)
            return
        copied = before if before is not None and before.values is not None else None
        if copied is not None and after is not None and repr(copied.key) == repr(after.key):
            self._note_values(copied, after)
            return
        if copied is not None:
            self.plan.removed += 1
            self._sample("removed", copied, None)
        if after is not None:
            self.plan.added += 1
            self._sample("added", None, after)
        if copied is None and after is None:
            self.plan.unchanged += 1

    def _note_values(self, before: SourceRow, after: SourceRow) -> None:
        if fields := self._differing(before.values or {}, after.values or {}):
            self.plan.changed += 1
            self._sample("changed", before, after, fields=fields)
        else:
            self.plan.unchanged += 1

    def _differing(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        has_columns = self._after.route.target.has_columns
        names = dict.fromkeys(after if has_columns else [*after, *before])

        def is_same_type(name: str) -> bool:
            """Texts of some types are equal, such as those of true and 1. A column keeps its type."""
            return (
                has_columns
                or type(before.get(name)) is type(after.get(name))
                or None in (before.get(name), after.get(name))
            )

        return [
            name
            for name in names
            if _text(self._texts_before, name, before) != _text(self._texts_after, name, after)
            or not is_same_type(name)
        ]

    def _sample(
        self,
        kind: SampleKind,
        before: SourceRow | None,
        after: SourceRow | None,
        *,
        fields: Sequence[str] = (),
        reason: str | None = None,
    ) -> None:
        kept = self._samples[kind]
        if len(kept) >= SAMPLES:
            return
        shown_before, shown_after = self._masked(self._before, before), self._masked(self._after, after)
        if after is not None:
            key = self._key(self._after, after)
        else:
            key = self._key(self._before or self._after, before) if before is not None else None
        kept.append(Sample(kind, key, shown_before, shown_after, fields, reason))

    def _masked(self, copy: Copy | None, row: SourceRow | None) -> Mapping[str, Any] | None:
        if copy is None or row is None or row.values is None:
            return None
        return self._personal.row(copy.route, row.values)

    def _key(self, copy: Copy, row: SourceRow) -> Any:
        """By names. A key that does not fit is that of the source."""
        route = copy.route
        if row.has_no_key:
            is_hidden = any(part == MASK for part in self._personal.row(route, dict.fromkeys(route.key, "")).values())
            return MASK if is_hidden else row.key
        return self._personal.row(route, named_key(route, row.key))


def named_key(route: Route, key: Key) -> Mapping[str, Any]:
    return dict(key[0]) if route.is_keyed_by_document else dict(zip(route.key, key, strict=True))


def _texts(route: Route) -> Mapping[str, CanonicalField]:
    """By these, values are compared as `reconcile` does, but with all digits of a time: both are of the same row."""
    return {
        name: canonical_field(name, declared, _NO_COLUMN, in_mongodb=False) for name, declared in route.fields.items()
    }


def _text(texts: Mapping[str, CanonicalField], name: str, values: Mapping[str, Any]) -> str | None:
    """Null and an absent field are equal, as in a comparison."""
    value = values.get(name)
    return None if value is None or name not in texts else texts[name].text(value)
