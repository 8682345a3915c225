"""The ranges of keys of a route, and when each was proven. Pure.

Together they contain every possible key. A range ends where the next one begins, so it is known by its upper bound; the
last one is open. Ranges are split and merged so that each has about the same number of rows, as rows come and go.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

# Between the numbers of neighbours, so that a range can be split without a new number for the others.
_GAP = 1 << 20
_LAST = 1 << 62
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ProvenRange:
    """`number` orders the ranges. `upper` is the bound as `SourceReader` stores it; None for the open end.

    At `proven_at`, `rows` of the source were compared, of which `different` did not agree with the copy. It is None if
    the range was not proven yet; then `rows` is 0.
    """

    number: int
    upper: bytes | None
    rows: int = 0
    different: int = 0
    proven_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RangeChange:
    """What changes in the stored ranges: numbers are deleted before ranges are stored."""

    stored: Sequence[ProvenRange] = ()
    deleted: Sequence[int] = ()


class ProvenRanges:
    """The ranges of one route, in the order of their keys."""

    def __init__(self, ranges: Sequence[ProvenRange] = ()) -> None:
        self._ranges = sorted(ranges, key=lambda each: each.number)
        if not self._ranges or self._ranges[-1].upper is not None:
            self._ranges = [ProvenRange(_LAST, None)]

    def __len__(self) -> int:
        return len(self._ranges)

    def __getitem__(self, place: int) -> ProvenRange:
        return self._ranges[place]

    def oldest(self, left_out: Collection[int] = ()) -> int:
        """The place of the range that was not proven yet, or longest ago, but for these numbers if there are others."""
        places = [place for place, each in enumerate(self._ranges) if each.number not in left_out]
        return min(places or range(len(self._ranges)), key=lambda place: self._ranges[place].proven_at or _NEVER)

    def oldest_different(self) -> int | None:
        """The place of the range with rows that differ that was compared longest ago; None if there is none."""
        places = [place for place, each in enumerate(self._ranges) if each.different]
        return min(places, key=lambda place: self._ranges[place].proven_at or _NEVER, default=None)

    @property
    def proven_since(self) -> datetime | None:
        """Since when every range was found equal; None if one was not."""
        times = [None if each.different else each.proven_at for each in self._ranges]
        return None if None in times else min(time for time in times if time is not None)

    def lower(self, place: int) -> bytes | None:
        """The bound at which the range begins; None for the first one."""
        return self._ranges[place - 1].upper if place else None

    def split(self, place: int, bound: bytes, rows: int) -> RangeChange:
        """Let a range begin at a bound within it, after `rows` rows. What is before it becomes a range of its own.

        Both keep the time of their proof. The rest keeps the rows that differ: the first part is compared next.
        """
        deleted: Sequence[int] = ()
        if self._middle(place) in (self._number_before(place), self._ranges[place].number):
            deleted = [each.number for each in self._ranges]
            self._renumber()
        old, number = self._ranges[place], self._middle(place)
        first = replace(old, number=number, upper=bound, rows=min(rows, old.rows), different=0)
        rest = replace(old, rows=max(0, old.rows - rows))
        self._ranges[place : place + 1] = [first, rest]
        return RangeChange(self._ranges if deleted else (first, rest), deleted)

    def merge(self, place: int) -> RangeChange:
        """Let the next range begin where this one does. It is as old as the older proof of both."""
        one, following = self._ranges[place : place + 2]
        times = [each.proven_at for each in (one, following)]
        merged = replace(
            following,
            rows=one.rows + following.rows,
            different=one.different + following.different,
            proven_at=None if None in times else min(time for time in times if time is not None),
        )
        self._ranges[place : place + 2] = [merged]
        return RangeChange([merged], [one.number])

    def note(self, place: int, *, rows: int, different: int, proven_at: datetime) -> RangeChange:
        """Note the result of a comparison."""
        proven = replace(self._ranges[place], rows=rows, different=different, proven_at=proven_at)
        self._ranges[place] = proven
        return RangeChange([proven])

    def _number_before(self, place: int) -> int:
        return self._ranges[place - 1].number if place else 0

    def _middle(self, place: int) -> int:
        """A number between those of the range and of the one before it, if there is one."""
        before, number = self._number_before(place), self._ranges[place].number
        return before + _GAP if number == _LAST else (before + number) // 2

    def _renumber(self) -> None:
        """Give all of them numbers that have gaps between them again."""
        last = len(self._ranges) - 1
        self._ranges = [
            replace(each, number=_LAST if place == last else (place + 1) * _GAP)
            for place, each in enumerate(self._ranges)
        ]
