"""Histories of a source for property tests: its log, what Kafka Connect writes of it, and how that is read.

A history is a series of transactions of one to six changes, on a few rows. Its events are written to the topic as
Connect does it: in order, after crashes again from any earlier event, all rows again in a new snapshot. The topic may
be deleted and created again, which begins with a snapshot. The events are read as a consumer group does it: cut into
batches, some of them again after a crash or from the start, some late by a member that was thought dead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, TypeAlias

from hypothesis import strategies as st

from sync_service.apply.ordering import Version, offset, topic_partition
from sync_service.debezium.positions import LogPosition
from sync_service.sinks.mongodb.source import CLOCK_DIFFERENCE_MS, MongodbSource
from sync_service.sinks.mysql.source import STATEMENT_MS, MysqlSource

PARTITIONS = 2
ROWS = 4
BEGIN_MS = 1_700_000_000_000
LogKind = Literal["gtid", "binlog", "compressed binlog", "clock"]
# The number of a partition, counted through all topics, the first place and the place after the last one.
Read: TypeAlias = tuple[int, int, int]

# Of the topic, and of the rows: every example has its own.
_examples = count(1)


@dataclass(frozen=True)
class Event:
    """`content` is the row's from then on. `transaction` counts the transactions, in the order of their commits."""

    row: int
    operation: str
    content: str
    position: LogPosition | None
    transaction: int


@dataclass
class _Log:
    """What a server writes about its transactions, and what becomes of servers. Times are in milliseconds.

    `is_stable`: one server, that is neither restored nor replaced.
    """

    kind: LogKind
    is_stable: bool
    server: int = 1
    number: int = 100
    file: int = 120
    place: int = 5000
    now: int = BEGIN_MS
    clock_is_behind_by: int = 0

    def next(self, draw: st.DrawFn) -> None:
        """Begin a transaction, perhaps after something has happened to the servers."""
        self.now += draw(st.sampled_from([1, 5, 90_000]))
        self.number += 1
        self.place += 100
        happened = "nothing" if self.is_stable else draw(st.sampled_from(["nothing", "nothing", "failover", "reset"]))
        if happened == "failover":
            # Of a replication group, too: its servers share the uuid.
            self.server += 1
            self.clock_is_behind_by = draw(st.sampled_from([0, CLOCK_DIFFERENCE_MS]))
            self._start_low(draw)
        elif happened == "reset":
            # The server was restored, or assigns a lower block of numbers, or its replica is read from now on.
            self._start_low(draw)

    def position(self, draw: st.DrawFn) -> LogPosition:
        """The position of the next event of the transaction."""
        time = self.now - self.clock_is_behind_by
        if self.kind == "clock":
            return MongodbSource(name="cdc", ts_ms=time).position
        if self.kind == "binlog":
            self.place += 10
        if self.kind != "gtid":
            # When its statement began, in whole seconds.
            time = (time - draw(st.sampled_from([0, 700, STATEMENT_MS - 1000]))) // 1000 * 1000
        gtid = f"00000000-0000-0000-0000-000000000001:{self.number}" if self.kind == "gtid" else None
        return MysqlSource(
            name="cdc", ts_ms=time, server_id=self.server, gtid=gtid, file=f"binlog.{self.file:06d}", pos=self.place
        ).position

    def _start_low(self, draw: st.DrawFn) -> None:
        self.number = draw(st.integers(1, self.number))
        self.file = draw(st.integers(1, self.file))
        self.place = draw(st.integers(4, 9000))


@dataclass(frozen=True)
class History:
    """`partitions` is what each topic contains; `reads` are the slices that are read, one after the other."""

    kind: LogKind
    log: Sequence[Event]
    partitions: Sequence[Sequence[Event]]
    reads: Sequence[Read]
    rows_at_once: int
    example: int = field(default_factory=lambda: next(_examples))

    @property
    def truth(self) -> dict[int, str]:
        return {row: event.content for row, event in _state(self.log).items()}

    def batches(self) -> Iterator[Sequence[tuple[Version, Event]]]:
        for number, start, end in self.reads:
            events = self.partitions[number][start:end]
            yield [(self.version(number, start + place, event), event) for place, event in enumerate(events)]

    def version(self, number: int, place: int, event: Event) -> Version:
        topic, partition = divmod(number, PARTITIONS)
        topic_id = f"{self.example:016x}{topic:016x}"
        return Version(topic_partition(topic_id, partition), offset(place), event.position, event.operation)


@st.composite
def histories(draw: st.DrawFn, *, is_stable: bool = False, kinds: Sequence[LogKind] | None = None) -> History:
    kind = draw(st.sampled_from(kinds or ("gtid", "binlog", "compressed binlog", "clock")))
    log = draw(_logs(_Log(kind, is_stable)))
    partitions: list[list[Event]] = []
    reads: list[Read] = []
    for topic in draw(_topics(log)):
        of_topic = [[event for event in topic if event.row % PARTITIONS == number] for number in range(PARTITIONS)]
        reads += [(len(partitions) + number, start, end) for number, start, end in draw(_reads(of_topic))]
        partitions += of_topic
    return History(kind, log, partitions, reads, draw(st.integers(1, 5)))


@st.composite
def _logs(draw: st.DrawFn, log: _Log) -> list[Event]:
    live: set[int] = set()
    events: list[Event] = []
    for transaction, rows in enumerate(
        draw(st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=6), min_size=1, max_size=8))
    ):
        log.next(draw)
        for row in rows:
            operation = "c" if row not in live else draw(st.sampled_from("uud"))
            live = live - {row} if operation == "d" else live | {row}
            events.append(Event(row, operation, f"{row} after {len(events)}", log.position(draw), transaction))
    return events


def _state(log: Sequence[Event]) -> dict[int, Event]:
    """The last event of each row that exists."""
    rows: dict[int, Event] = {}
    for event in log:
        if event.operation == "d":
            rows.pop(event.row, None)
        else:
            rows[event.row] = event
    return rows


@st.composite
def _topics(draw: st.DrawFn, log: Sequence[Event]) -> list[list[Event]]:
    topics: list[list[Event]] = [[]]
    written = 0
    while written < len(log):
        end = draw(st.integers(written + 1, len(log)))
        topics[-1] += log[written:end]
        written = end
        match draw(st.sampled_from(["continue", "continue", "crashes", "snapshot", "new topic"])):
            case "crashes":
                topics[-1] += draw(_repetitions(log[:written]))
            case "snapshot":
                topics[-1] += _snapshot(log[:written])
            case "new topic":
                topics.append(_snapshot(log[:written]))
    return topics


@st.composite
def _repetitions(draw: st.DrawFn, log: Sequence[Event]) -> list[Event]:
    """After each of up to three crashes Connect begins at an earlier event; after the last one it gets to the end."""
    repeated: list[Event] = []
    end = len(log)
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, end))
        end = draw(st.integers(start, end))
        repeated += log[start:end]
    return [*repeated, *log[draw(st.integers(0, end)) :]]


def _snapshot(log: Sequence[Event]) -> list[Event]:
    return [Event(row, "r", event.content, None, event.transaction) for row, event in _state(log).items()]


@st.composite
def _reads(draw: st.DrawFn, partitions: Sequence[Sequence[Event]]) -> list[Read]:
    reads: list[Read] = []
    done = [0] * len(partitions)
    while unread := [number for number, events in enumerate(partitions) if done[number] < len(events)]:
        number = draw(st.sampled_from(unread))
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
    return reads
