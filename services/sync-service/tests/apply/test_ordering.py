"""The apply rule, line by line, and that leaving superseded changes out does not change the result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.apply.batching import chunks
from sync_service.apply.changes import Change
from sync_service.apply.ordering import ApplyMode, Version, applies, merged, offset, topic_partition

TOPIC, TOPIC_ANEW = "a" * 32, "b" * 32
ANY_SERVER, SERVER, OTHER_SERVER = "mysql:binlog/", "mysql:binlog/uuid-1", "mysql:binlog/uuid-2"


def version(  # noqa: PLR0917 - the tables below are read like tables
    offset_: int = 10,
    position: int | None = 10,
    op: str = "u",
    log_generation: str = SERVER,
    topic: str = TOPIC,
    partition: int = 0,
) -> Version:
    place = None if position is None else f"{position:05d}"
    return Version(topic_partition(topic, partition), offset(offset_), log_generation, place, op)


@pytest.mark.parametrize(
    ("incoming", "expected", "why"),
    [
        (version(10, 10), False, "1: the same event again"),
        (version(9, 11), False, "1: an offset below, whatever the position"),
        (version(9, None, "r"), False, "1: a snapshot read that was redelivered"),
        (version(11, 11), True, "a newer event"),
        (version(11, 10), False, "2: replayed by Connect with another offset"),
        (version(11, 9), False, "2: an older one replayed"),
        (version(11, 11, "d"), True, "6: deletes follow the same rule"),
        (version(11, 9, "d"), False, "2: a replayed delete"),
        (version(11, 9, "r"), True, "3: a snapshot read, whatever its position"),
        (version(11, None, "r"), True, "3: a snapshot read without a position"),
        (version(11, 1, log_generation=OTHER_SERVER), True, "4: another server's position says nothing"),
        (version(3, 11, topic=TOPIC_ANEW), True, "1 does not hold: offsets of a topic made anew begin at 0"),
        (version(3, 9, topic=TOPIC_ANEW), False, "2 holds all the same: the source is what it was"),
        (version(3, 11, partition=1), True, "1 does not hold in another partition"),
        (version(11, None), True, "an event that can't be compared is believed"),
    ],
)
def test_live_event_against_a_row_at_offset_10_and_position_10(incoming: Version, expected: bool, why: str) -> None:
    assert applies(incoming, version(10, 10)) is expected, why


def test_first_event_of_a_row_is_always_applied() -> None:
    assert applies(version(op="d"), None)
    assert applies(version(op="u"), None, ApplyMode.RETRY)


def test_snapshot_row_is_comparable_with_every_server() -> None:
    snapshot = version(10, 10, "r", ANY_SERVER)
    assert applies(version(11, 11, log_generation=SERVER), snapshot)
    assert not applies(version(11, 10, log_generation=SERVER), snapshot)
    assert not applies(version(11, 10, log_generation=OTHER_SERVER), snapshot)


@pytest.mark.parametrize(
    ("incoming", "expected"),
    [
        (version(11, 11), True),
        (version(11, 10), False),
        (version(11, 11, "r"), True),
        (version(11, 9, "r"), False),
        (version(11, None, "r"), False),
        (version(11, 11, log_generation=OTHER_SERVER), False),
    ],
)
def test_retried_dead_letter_is_applied_only_if_its_position_is_newer(incoming: Version, expected: bool) -> None:
    assert applies(incoming, version(10, 10), ApplyMode.RETRY) is expected


@pytest.mark.parametrize(
    ("incoming", "expected"),
    [
        (version(10, 12, "r"), True),
        (version(10, 3, "r"), True),
        (version(10, None, "d"), True),
        (version(11, 12, "r"), False),
        (version(10, 12, "r", topic=TOPIC_ANEW), False),
    ],
)
def test_repair_applies_only_to_the_version_that_was_read(incoming: Version, expected: bool) -> None:
    assert applies(incoming, version(10, 10), ApplyMode.REPAIR) is expected
    assert applies(incoming, None, ApplyMode.REPAIR)


def test_snapshot_read_without_a_position_keeps_the_stored_one() -> None:
    kept = merged(version(11, None, "r", log_generation="other"), version(10, 10))
    assert (kept.position, kept.log_generation) == ("00010", SERVER)
    assert kept.event == version(11, None).event
    assert merged(version(11, 12, "r", ANY_SERVER), version(10, 10)).log_generation == ANY_SERVER


def test_snapshot_clock_does_not_supersede_an_earlier_update() -> None:
    """MongoDB: a snapshot read carries the connector's clock, which is ahead of every real position."""
    row = merged(version(11, None, "r"), version(10, 10))
    assert applies(version(12, 11), row)


versions = st.builds(
    version,
    st.integers(0, 5),
    st.none() | st.integers(0, 5),
    st.sampled_from("cudr"),
    st.sampled_from([ANY_SERVER, SERVER, OTHER_SERVER]),
    st.sampled_from([TOPIC, TOPIC_ANEW]),
    st.integers(0, 1),
)


def folded(stored: Version | None, incoming: list[Version]) -> Version | None:
    for each in incoming:
        if applies(each, stored):
            stored = merged(each, stored)
    return stored


@given(st.none() | versions, st.lists(versions, max_size=8), st.integers(1, 4))
def test_chunks_have_the_result_of_single_changes(stored: Version | None, incoming: list[Version], size: int) -> None:
    changes = [Change(("key",), {}, each) for each in incoming]
    written = [change.version for chunk in chunks(changes, size) for change in chunk]
    assert folded(stored, written) == folded(stored, incoming)


@given(st.lists(st.tuples(st.integers(0, 3), versions), max_size=20), st.integers(1, 6))
def test_chunks_contain_each_key_once_and_every_change(incoming: list[tuple[int, Version]], size: int) -> None:
    changes = [Change((key,), {}, each) for key, each in incoming]
    reached: list[tuple[int, str]] = []
    for chunk in chunks(changes, size):
        assert 1 <= len(chunk) <= size
        assert len({change.key for change in chunk}) == len(chunk)
        for change in chunk:
            each: Change | None = change
            while each is not None:
                reached.append((each.key[0], each.version.event))
                each = each.superseded
    assert sorted(reached) == sorted((key, each.event) for key, each in incoming)


def test_row_with_many_changes_is_written_once() -> None:
    changes = [Change(("hot",), {"n": n}, version(n, n)) for n in range(100)]
    (chunk,) = chunks(changes, 500)
    assert [change.values for change in chunk] == [{"n": 99}]
