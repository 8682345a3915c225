"""The apply rule. The sinks' guarded statements are tested against it.

1. Same topic-partition, and the offset is not above the stored one: a redelivery of our own, skip.
2. A streaming event of the same epoch whose position is not above the stored one: a replay of Connect's, skip.
3. A snapshot read in the live flow: apply, whatever its position. The position is stored only if there is one.
4. Another epoch (another server, a binary log begun anew): positions say nothing, apply.
5. A dead letter that is replayed: apply only if its position is known to be newer.
6. A repair (`reconciliation.repair`): apply only if the row still is what the event made it that the repair names.
7. A delete leaves a tombstone, so that a replayed insert can't resurrect the row: it has a version like any row.
"""

from enum import Enum

import msgspec

SNAPSHOT_READ = "r"


class Flow(Enum):
    """How an event came: as the topic has it, or put in again from the dead letters. A repair is no event."""

    LIVE = "live"
    REPLAY = "replay"
    REPAIR = "repair"


class Version(msgspec.Struct, frozen=True):
    """Which event made a row what it is. Texts, all of them, so that every store compares them alike.

    `stream` is topic id and partition, `offset` has a fixed width; together they name the event. `position` is
    where it is in the source's log (None if that can't be compared), and means something only within `epoch`.
    """

    stream: str
    offset: str
    epoch: str
    position: str | None
    operation: str

    @property
    def event(self) -> str:
        return f"{self.stream}:{self.offset}"


# Topic id (32 hexadecimal digits), a colon, the partition (6 digits).
STREAM_WIDTH = 39


def stream(topic_id: str, partition: int) -> str:
    return f"{topic_id}:{partition:06d}"


def offset(number: int) -> str:
    return f"{number:019d}"


def comparable_epochs(epoch: str) -> tuple[str, str]:
    """Positions of these can be compared with one of `epoch`: itself, and the one in which the server is not told."""
    log, slash, _ = epoch.partition("/")
    return epoch, log + slash


def applies(incoming: Version, stored: Version | None, flow: Flow = Flow.LIVE) -> bool:
    """Does the event change the row that has this version? `stored` is None if there is neither row nor tombstone."""
    if stored is None:
        return True
    if flow is Flow.REPAIR:
        return incoming.event == stored.event
    if incoming.stream == stored.stream and incoming.offset <= stored.offset:
        return False
    same_epoch = stored.epoch in comparable_epochs(incoming.epoch)
    comparable = same_epoch and incoming.position is not None and stored.position is not None
    newer = comparable and incoming.position > stored.position  # type: ignore[operator]  # comparable: neither is None
    if flow is Flow.REPLAY:
        return newer
    return incoming.operation == SNAPSHOT_READ or not comparable or newer


def merged(incoming: Version, stored: Version | None) -> Version:
    """The version of the row after `incoming` was applied: without a position of its own, the known one stays."""
    if incoming.position is not None or stored is None:
        return incoming
    return Version(incoming.stream, incoming.offset, stored.epoch, stored.position, incoming.operation)


def supersedes(later: Version, earlier: Version) -> bool:
    """May `earlier` be left out of a batch because `later` follows it?

    Only if, whatever is stored, applying both ends like applying the later one: both stream from one epoch and
    partition, in the log's order.
    """
    return (
        SNAPSHOT_READ not in (later.operation, earlier.operation)
        and later.stream == earlier.stream
        and later.offset > earlier.offset
        and later.epoch == earlier.epoch
        and later.position is not None
        and earlier.position is not None
        and later.position > earlier.position
    )
