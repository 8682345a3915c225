"""Whatever happens to the events of a history on their way, the copy ends as the source did.

A history is what some rows of a source went through. Its events are written to the topic as Connect does it: in order,
some of them again after a crash, all rows once more in a new snapshot. They are read as a consumer group does it: cut
into batches, some of them again after a crash or from the start, some late by a member that was thought dead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.stored_copies import StoredCopy, StoredMysqlCopy
from sync_service.apply.batching import chunks
from sync_service.apply.ordering import ApplyMode, Version, offset, topic_partition
from sync_service.sinks.mongodb import sink as mongodb_sink
from sync_service.sinks.mysql.sink import MysqlSink

GENERATION = "mysql:binlog/uuid-1"
SNAPSHOT_GENERATION = "mysql:binlog/"
PARTITIONS = 2
ROWS = 4
# Of the topic, and of the rows: every example has its own.
_examples = count(1)


@dataclass(frozen=True)
class Event:
    """`content` is what is in the row from then on; `position` is in the source's log, None of what has none."""

    row: int
    operation: str
    content: str
    position: int | None


@dataclass(frozen=True)
class Way:
    """What is in the topic, by partition, and which parts of it are read, one after the other."""

    truth: dict[int, str]
    partitions: Sequence[Sequence[Event]]
    reads: Sequence[tuple[int, int, int]]
    rows_at_once: int


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """What a source's log says."""
    live: set[int] = set()
    log = []
    for position, row in enumerate(draw(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=16))):
        operation = "c" if row not in live else draw(st.sampled_from("uud"))
        live = live - {row} if operation == "d" else live | {row}
        log.append(Event(row, operation, f"{row} at {position}", position))
    return log


def state(log: Sequence[Event]) -> dict[int, str]:
    rows: dict[int, str] = {}
    for event in log:
        if event.operation == "d":
            rows.pop(event.row, None)
        else:
            rows[event.row] = event.content
    return rows


@st.composite
def written(draw: st.DrawFn, log: Sequence[Event]) -> list[Event]:
    """As Connect writes it: what it has said since its last flush it says again after a crash."""
    topic: list[Event] = []
    told = 0
    while told < len(log):
        upto = draw(st.integers(told + 1, len(log)))
        topic += log[told:upto]
        told = upto
        match draw(st.sampled_from(["goes on", "goes on", "crash", "snapshot"])):
            case "crash":
                # To the end of what it had said, or more: the loop goes on from there.
                again = draw(st.integers(0, told))
                topic += log[again:told]
            case "snapshot":
                has_positions = draw(st.booleans())
                place = told - 1 if has_positions else None
                topic += [Event(row, "r", content, place) for row, content in state(log[:told]).items()]
    return topic


@st.composite
def ways(draw: st.DrawFn) -> Way:
    log = draw(histories())
    topic = draw(written(log))
    partitions = [[event for event in topic if event.row % PARTITIONS == number] for number in range(PARTITIONS)]
    reads: list[tuple[int, int, int]] = []
    done = [0] * PARTITIONS
    while any(done[number] < len(events) for number, events in enumerate(partitions)):
        number = draw(st.sampled_from([each for each in range(PARTITIONS) if done[each] < len(partitions[each])]))
        end = draw(st.integers(done[number] + 1, len(partitions[number])))
        reads.append((number, done[number], end))
        match draw(st.sampled_from(["committed", "committed", "not committed", "reset", "zombie"])):
            case "committed":
                done[number] = end
            case "reset":
                done[number] = draw(st.integers(0, end))
            case "zombie":
                done[number] = end
                reads.append(draw(st.sampled_from(reads)))
    return Way(state(log), partitions, reads, draw(st.integers(1, 5)))


async def end_of(copy: StoredCopy, way: Way) -> dict[int, str]:
    """What readers of the copy see of it."""
    example = next(_examples)

    def key(row: int) -> str:
        return f"{example:016x}{row:08x}"

    def version(number: int, place: int, event: Event) -> Version:
        log_generation = SNAPSHOT_GENERATION if event.operation == "r" else GENERATION
        position = None if event.position is None else f"{event.position:05d}"
        return Version(
            topic_partition(f"{example:032x}", number), offset(place), log_generation, position, event.operation
        )

    for number, start, end in way.reads:
        some = way.partitions[number][start:end]
        changes = [
            copy.change(key(event.row), version(number, start + place, event), event.content)
            for place, event in enumerate(some)
        ]
        for chunk in chunks(changes, way.rows_at_once):
            await copy.sink.write(chunk)
    seen = await copy.readable()
    return {row: seen[key(row)] for row in range(ROWS) if key(row) in seen}


EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@EXAMPLES
@given(way=ways())
async def test_copy_ends_as_the_source_did(copy: StoredCopy, way: Way) -> None:
    assert await end_of(copy, way) == way.truth


@pytest.fixture
def unguarded_copy(copy: StoredCopy, monkeypatch: pytest.MonkeyPatch) -> StoredCopy:
    """Its sink believes every event."""
    if isinstance(copy, StoredMysqlCopy):
        assert isinstance(copy.sink, MysqlSink)
        monkeypatch.setattr(copy.sink, "_update", {mode: copy.sink._on_duplicate("TRUE") for mode in ApplyMode})
    else:
        monkeypatch.setattr(mongodb_sink, "_guard", lambda *_: True)
    return copy


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the negative control: the same without the guard")
@settings(EXAMPLES, phases=[Phase.generate])
@given(way=ways())
async def test_without_the_guard_the_copy_differs(unguarded_copy: StoredCopy, way: Way) -> None:
    assert await end_of(unguarded_copy, way) == way.truth
