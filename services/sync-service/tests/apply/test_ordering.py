"""The apply rule, line by line, and what must hold of it for every history of a source."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.histories import ROWS, Event, History, histories
from sync_service.apply.batching import chunks
from sync_service.apply.changes import Change
from sync_service.apply.ordering import REPAIRED, ApplyMode, Version, applies, merged, offset, topic_partition
from sync_service.debezium.positions import LogPosition

TOPIC, NEW_TOPIC = "a" * 32, "b" * 32
SERVER, OTHER_SERVER = "mysql-gtid:uuid/1", "mysql-gtid:uuid/2"


def version(  # noqa: PLR0917 - the tables below are read like tables
    offset_: int = 10,
    number: int | None = 10,
    op: str = "u",
    generation: str = SERVER,
    topic: str = TOPIC,
    partition: int = 0,
    time: int | None = None,
) -> Version:
    place = None
    if number is not None:
        place = LogPosition(generation, f"{number:05d}", time or number, time or number)
    return Version(topic_partition(topic, partition), offset(offset_), place, op)


@pytest.mark.parametrize(
    ("incoming", "expected", "why"),
    [
        (version(10, 10), False, "1: the same event again"),
        (version(9, 10), False, "1: an offset below, of the same transaction"),
        (version(9, 11, generation=OTHER_SERVER), False, "1: an offset below, whose position proves nothing"),
        (version(9, 11), True, "1 does not hold: the log has lost its tail, and gives its offsets again"),
        (version(10, 11, "d"), True, "1 does not hold: the same, at the offset itself"),
        (version(9, None, "r"), False, "1: a snapshot read that was redelivered"),
        (version(11, 11), True, "a newer event"),
        (version(11, 10), True, "2: another event of the same transaction"),
        (version(11, 9), False, "2: an older transaction, repeated by Connect"),
        (version(11, 9, "d"), False, "2: a repeated delete"),
        (version(11, 11, "d"), True, "6: deletes follow the same rule"),
        (version(11, None, "r"), True, "3: a snapshot read"),
        (version(11, None), True, "3: an event without a position"),
        (version(11, 1, generation=OTHER_SERVER), True, "3: another server's number proves nothing"),
        (version(11, 1, time=11), True, "2 does not hold: a lower number, committed later; the server was restored"),
        (version(3, 11, topic=NEW_TOPIC), True, "1 does not hold: a new topic's offsets begin at 0"),
        (version(3, 9, topic=NEW_TOPIC), False, "2 holds nevertheless: the source's log is the same"),
        (version(3, 11, partition=1), True, "1 does not hold in another partition"),
    ],
)
def test_live_event_against_a_row_of_offset_10_and_transaction_10(incoming: Version, expected: bool, why: str) -> None:
    assert applies(incoming, version(10, 10)) is expected, why


def test_redelivery_after_a_snapshot_read_is_refused_although_that_has_kept_an_older_position() -> None:
    snapshot = merged(version(10, None, "r"), version(5, 5))
    assert not applies(version(8, 8), snapshot)


def test_first_event_of_a_row_is_always_applied() -> None:
    assert applies(version(op="d"), None)
    assert applies(version(op="u"), None, ApplyMode.RETRY)


@pytest.mark.parametrize(
    ("incoming", "expected", "why"),
    [
        (version(11, 11), True, "a newer transaction"),
        (version(11, 10), True, "a later event of the same transaction"),
        (version(11, 9), False, "an older transaction"),
        (version(11, 11, time=9), True, "it follows the stored event in the topic, though a clock was set back"),
        (version(11, None, "r"), True, "it follows the stored event in the topic"),
        (version(11, 11, generation=OTHER_SERVER), True, "it follows the stored event in the topic"),
        (version(9, 9), False, "the row has had a later event of the topic"),
        (version(9, 11), False, "the row has had a later event of the topic"),
        (version(3, 11, topic=NEW_TOPIC), True, "a newer transaction"),
        (version(3, 10, topic=NEW_TOPIC), False, "perhaps an earlier event of the same transaction"),
        (version(3, None, topic=NEW_TOPIC), False, "it may be older"),
        (version(3, 11, topic=NEW_TOPIC, generation=OTHER_SERVER), False, "it may be older"),
    ],
)
def test_retried_dead_letter_is_applied_only_if_it_is_newer(incoming: Version, expected: bool, why: str) -> None:
    assert applies(incoming, version(10, 10), ApplyMode.RETRY) is expected, why


def test_retried_dead_letter_is_applied_to_an_older_snapshot_read_of_the_same_partition() -> None:
    snapshot = version(10, None, "r")
    assert applies(version(11, 11), snapshot, ApplyMode.RETRY)
    assert applies(version(11, None, "r"), snapshot, ApplyMode.RETRY)
    assert not applies(version(9, 11), snapshot, ApplyMode.RETRY)
    assert not applies(version(11, 11, partition=1), snapshot, ApplyMode.RETRY)


@pytest.mark.parametrize(
    ("incoming", "expected"),
    [
        (version(11, 11), True),
        (version(11, 10), False),
        (version(11, 11, time=9), False),
        (version(11, None, "r"), False),
        (version(11, 11, generation=OTHER_SERVER), False),
    ],
)
def test_retried_dead_letter_is_applied_to_a_repaired_row_only_if_it_is_provably_newer(
    incoming: Version, expected: bool
) -> None:
    assert applies(incoming, version(10, 10, REPAIRED), ApplyMode.RETRY) is expected


@pytest.mark.parametrize(
    ("incoming", "expected"),
    [
        (version(10, 12, "r"), True),
        (version(10, 3, "r"), True),
        (version(10, None, "d"), True),
        (version(11, 12, "r"), False),
        (version(10, 12, "r", topic=NEW_TOPIC), False),
    ],
)
def test_repair_applies_only_to_the_version_that_was_read(incoming: Version, expected: bool) -> None:
    assert applies(incoming, version(10, 10), ApplyMode.REPAIR) is expected
    assert applies(incoming, None, ApplyMode.REPAIR)


def test_snapshot_read_keeps_the_stored_position() -> None:
    snapshot = version(11, None, "r")
    kept = merged(snapshot, version(10, 10))
    assert kept.position == version(10, 10).position
    assert kept.event == snapshot.event
    assert not applies(version(12, 9), kept)
    assert applies(version(12, 10), kept)


def test_snapshot_read_of_another_topic_is_newer_than_the_position_that_it_keeps() -> None:
    """Dead letters of the former topic that are later than the position may be older than the snapshot."""
    kept = merged(version(0, None, "r", topic=NEW_TOPIC), version(10, 10))
    assert kept == version(0, 10, "r", topic=NEW_TOPIC)
    assert not applies(version(9, 9), kept)
    assert not applies(version(12, 12), kept, ApplyMode.RETRY)
    assert applies(version(12, 12), version(10, 10, topic=NEW_TOPIC), ApplyMode.RETRY)


# --- what must hold for every history (P1 to P4)

Rule = Callable[[Version, Version | None], bool]


def everything(_incoming: Version, _stored: Version | None) -> bool:
    return True


def not_above_is_skipped(incoming: Version, stored: Version | None) -> bool:
    """The rule until 0.1: a position that is not above the stored one is skipped, also within a transaction."""
    return stored is None or (
        (incoming.topic_partition, incoming.offset) != (stored.topic_partition, stored.offset)
        and (
            incoming.position is None
            or stored.position is None
            or incoming.position.generation != stored.position.generation
            or incoming.position.transaction > stored.position.transaction
        )
    )


class RuleCopy:
    """A copy in memory, written by the rule. `shown` are the events of a row that readers have seen, in order."""

    def __init__(self, rule: Rule = applies) -> None:
        self.rule = rule
        self._rows: dict[int, tuple[Version, Event]] = {}
        self.shown: list[list[Event]] = [[] for _ in range(ROWS)]

    def write(self, history: History) -> None:
        for batch in history.batches():
            events = {version.event: event for version, event in batch}
            changes = [Change((event.row,), {}, version) for version, event in batch]
            for chunk in chunks(changes, history.rows_at_once):
                for change in chunk:
                    self.apply(change.version, events[change.version.event])

    def apply(self, version: Version, event: Event) -> bool:
        stored = self._rows[event.row][0] if event.row in self._rows else None
        if is_applied := self.rule(version, stored):
            self._rows[event.row] = merged(version, stored), event
            self.shown[event.row].append(event)
        return is_applied

    @property
    def versions(self) -> dict[int, Version]:
        return {row: version for row, (version, _) in self._rows.items()}

    @property
    def readable(self) -> dict[int, str]:
        return {row: event.content for row, (_, event) in self._rows.items() if event.operation != "d"}


PURE = settings(max_examples=100, deadline=None, derandomize=True)
CONTROL = settings(PURE, phases=[Phase.generate])


def converges(history: History, rule: Rule = applies) -> None:
    copy = RuleCopy(rule)
    copy.write(history)
    assert copy.readable == history.truth


def shows_no_step_back(history: History, rule: Rule = applies) -> None:
    copy = RuleCopy(rule)
    copy.write(history)
    for shown in copy.shown:
        order = [event.transaction for event in shown]
        assert order == sorted(order)


@PURE
@given(histories())
def test_p1_copy_ends_as_the_source_did(history: History) -> None:
    converges(history)


@PURE
@given(histories(is_stable=True, kinds=["gtid"]))
def test_p2_readers_see_no_step_back_in_the_log_of_one_mysql_server(history: History) -> None:
    shows_no_step_back(history)


@PURE
@given(histories(kinds=["clock"]))
def test_p2_readers_see_no_step_back_in_mongodb_beyond_the_difference_of_clocks(history: History) -> None:
    copy = RuleCopy()
    copy.write(history)
    for shown in copy.shown:
        positions = [event.position for event in shown if event.position is not None]
        assert not any(later.precedes(earlier) for earlier, later in pairwise(positions))


@pytest.mark.parametrize("mode", [ApplyMode.LIVE, ApplyMode.RETRY])
@PURE
@given(history=histories(is_stable=True))
def test_p3_old_events_that_are_sent_again_are_refused_where_their_age_is_provable(
    mode: ApplyMode, history: History
) -> None:
    copy = RuleCopy()
    copy.write(history)
    last = {event.row: event for event in history.log}
    for place, event in enumerate(history.log):
        if event.position is not None and event.position.precedes(last[event.row].position):
            sent_again = Version(topic_partition("c" * 32, 0), offset(place), event.position, event.operation)
            assert not applies(sent_again, copy.versions[event.row], mode)


def retries_take_no_row_back(history: History, data: st.DataObject, rule: Rule) -> None:
    """Some events become dead letters. They are retried at the end, in any order."""
    copy = RuleCopy()
    letters: list[tuple[Version, Event]] = []
    for version, event in (each for batch in history.batches() for each in batch):
        if data.draw(st.booleans()):
            letters.append((version, event))
        else:
            copy.apply(version, event)
    already_shown = [len(shown) for shown in copy.shown]
    copy.rule = rule
    for version, event in data.draw(st.permutations(letters)):
        copy.apply(version, event)
    for shown, count in zip(copy.shown, already_shown, strict=True):
        order = [event.transaction for event in shown[max(count - 1, 0) :]]
        assert order == sorted(order)


@PURE
@given(histories(is_stable=True, kinds=["gtid"]), st.data())
def test_retried_dead_letters_take_no_row_back(history: History, data: st.DataObject) -> None:
    retries_take_no_row_back(history, data, lambda incoming, stored: applies(incoming, stored, ApplyMode.RETRY))


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="negative control: retried like live events")
@CONTROL
@given(histories(is_stable=True, kinds=["gtid"]), st.data())
def test_dead_letters_that_are_retried_like_live_events_take_rows_back(history: History, data: st.DataObject) -> None:
    retries_take_no_row_back(history, data, applies)


def matches(content: str) -> bool:
    """Most rows match, cease to match and match again: by the number of changes before."""
    return int(content.rpartition(" ")[2]) % 2 == 0


def copy_has_the_rows_that_match(history: History, ignored: Callable[[Event], bool]) -> None:
    """`ignored` events make no change."""
    copy = RuleCopy()
    for version, event in (each for batch in history.batches() for each in batch):
        if not ignored(event):
            copy.apply(version, event)
    seen = {row: content for row, content in copy.readable.items() if matches(content)}
    assert seen == {row: content for row, content in history.truth.items() if matches(content)}


@PURE
@given(histories())
def test_copy_has_the_rows_that_match(history: History) -> None:
    copy_has_the_rows_that_match(history, lambda _event: False)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="negative control: such events are no deletes")
@CONTROL
@given(histories())
def test_rows_that_cease_to_match_would_stay_otherwise(history: History) -> None:
    copy_has_the_rows_that_match(history, lambda event: event.operation != "d" and not matches(event.content))


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="negative control: every event is applied")
@CONTROL
@given(histories())
def test_p4_without_a_guard_the_copy_differs(history: History) -> None:
    converges(history, everything)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="negative control: every event is applied")
@CONTROL
@given(histories(is_stable=True, kinds=["gtid"]))
def test_p4_without_a_guard_readers_see_a_step_back(history: History) -> None:
    shows_no_step_back(history, everything)


@pytest.mark.parametrize("kind", ["gtid", "compressed binlog", "clock"])
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="negative control: the rule until 0.1")
@CONTROL
@given(data=st.data())
def test_p4_by_the_former_rule_the_copy_differs(kind: str, data: st.DataObject) -> None:
    converges(data.draw(histories(is_stable=True, kinds=[kind])), not_above_is_skipped)


# --- batches

versions = st.builds(
    version,
    st.integers(0, 5),
    st.none() | st.integers(0, 5),
    st.sampled_from("cudrm"),
    st.sampled_from([SERVER, OTHER_SERVER]),
    st.sampled_from([TOPIC, NEW_TOPIC]),
    st.integers(0, 1),
    st.integers(1, 5),
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
            reached += [(each.key[0], each.version.event) for each in chain(change)]
    assert sorted(reached) == sorted((key, each.event) for key, each in incoming)


def chain(change: Change | None) -> Iterator[Change]:
    while change is not None:
        yield change
        change = change.superseded


def test_row_with_many_changes_is_written_once() -> None:
    changes = [Change(("hot",), {"n": n}, version(n, n)) for n in range(100)]
    (chunk,) = chunks(changes, 500)
    assert [change.values for change in chunk] == [{"n": 99}]
