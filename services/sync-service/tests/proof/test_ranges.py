"""The ranges of a route always contain every key, whatever is split and merged: pure functions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.proof.ranges import ProvenRange, ProvenRanges, RangeChange

pytestmark = pytest.mark.unit

BEGIN = datetime(2026, 11, 30, tzinfo=UTC)


def bound(key: int) -> bytes:
    return f"{key:06d}".encode()


class Stored:
    """The table of the ranges."""

    def __init__(self) -> None:
        self.rows: dict[int, ProvenRange] = {}

    def apply(self, change: RangeChange) -> None:
        for number in change.deleted:
            del self.rows[number]
        self.rows.update({each.number: each for each in change.stored})

    def ranges(self) -> ProvenRanges:
        return ProvenRanges(list(self.rows.values()))


def listed(ranges: ProvenRanges) -> list[ProvenRange]:
    return [ranges[place] for place in range(len(ranges))]


def test_nothing_is_proven_of_one_range_of_all_keys_at_first() -> None:
    (only,) = listed(ProvenRanges())
    assert (only.upper, only.rows, only.proven_at) == (None, 0, None)


def test_range_without_a_proof_is_the_oldest_one_and_then_the_one_proven_longest_ago() -> None:
    ranges = ProvenRanges()
    for key in (1, 2):
        ranges.split(len(ranges) - 1, bound(key), 10)
    assert ranges.oldest() == 0
    for place, minute in ((1, 5), (0, 7), (2, 6)):
        ranges.note(place, rows=10, different=0, proven_at=BEGIN + timedelta(minutes=minute))
    assert ranges.oldest() == 1
    assert ranges.oldest({ranges[1].number}) == 2
    assert ranges.oldest({ranges[place].number for place in range(3)}) == 1


def test_parts_of_a_split_range_keep_its_proof_and_a_merged_one_has_the_older_one() -> None:
    ranges = ProvenRanges()
    ranges.note(0, rows=30, different=2, proven_at=BEGIN)
    ranges.split(0, bound(1), 10)
    first, rest = listed(ranges)
    assert (first.upper, first.rows, first.proven_at) == (bound(1), 10, BEGIN)
    assert (rest.upper, rest.rows, rest.proven_at) == (None, 20, BEGIN)
    ranges.note(0, rows=11, different=1, proven_at=BEGIN + timedelta(minutes=1))
    ranges.merge(0)
    (merged,) = listed(ranges)
    assert (merged.upper, merged.rows, merged.proven_at) == (None, 31, BEGIN)


def test_different_rows_are_counted_once_after_a_split() -> None:
    ranges = ProvenRanges()
    ranges.note(0, rows=30, different=2, proven_at=BEGIN)
    ranges.split(0, bound(1), 10)
    assert sum(each.different for each in listed(ranges)) == 2


def test_range_with_different_rows_that_was_compared_longest_ago_is_found() -> None:
    ranges = ProvenRanges()
    for key in (1, 2):
        ranges.split(len(ranges) - 1, bound(key), 10)
    assert ranges.oldest_different() is None
    for place, (minute, different) in enumerate(((5, 0), (7, 1), (6, 2))):
        ranges.note(place, rows=10, different=different, proven_at=BEGIN + timedelta(minutes=minute))
    assert ranges.oldest_different() == 2


def test_range_can_be_split_any_number_of_times_at_the_same_place() -> None:
    ranges, stored = ProvenRanges(), Stored()
    for key in range(100, 0, -1):
        stored.apply(ranges.split(0, bound(key), 1))
    assert [each.upper for each in listed(ranges)] == [*map(bound, range(1, 101)), None]
    assert listed(stored.ranges()) == listed(ranges)


@given(st.lists(st.tuples(st.sampled_from(["split", "merge", "note"]), st.integers(0, 999), st.integers(1, 5000))))
def test_stored_ranges_are_those_in_memory_and_end_where_the_next_begins(steps: list[tuple[str, int, int]]) -> None:
    ranges, stored, keys = ProvenRanges(), Stored(), set[int]()
    for step, (kind, at, number) in enumerate(steps):
        place = at % len(ranges)
        if kind == "split":
            lower, upper = ranges.lower(place), ranges[place].upper
            key = (int(lower or 0) + (int(upper) if upper else 900_000)) // 2
            if bound(key) in (lower, upper):
                continue
            keys.add(key)
            stored.apply(ranges.split(place, bound(key), number))
        elif kind == "merge" and place + 1 < len(ranges):
            keys.discard(int(ranges[place].upper or 0))
            stored.apply(ranges.merge(place))
        elif kind == "note":
            stored.apply(
                ranges.note(place, rows=number, different=number % 3, proven_at=BEGIN + timedelta(seconds=step))
            )
    assert [each.upper for each in listed(ranges)] == [*map(bound, sorted(keys)), None]
    if stored.rows:
        assert listed(stored.ranges()) == listed(ranges)
