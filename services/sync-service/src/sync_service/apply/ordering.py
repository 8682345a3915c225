"""The apply rule: which event wins. The guarded statements of the sinks are tested against it.

1. Same topic-partition, and the offset is not above the stored one: a redelivery, skip.
2. A streaming event of the same log generation whose position is not above the stored one: a replay by Connect, skip.
3. A snapshot read in the live flow: apply, whatever its position. The position is stored only if there is one.
4. Another log generation (another server, or a new binary log): positions are not comparable, apply.
5. A dead letter that is retried: apply only if its position is known to be newer.
6. A repair (`reconciliation.repair`): apply only if the row still has the version that the repair has read.
7. A delete leaves a tombstone with a version like any row's, so that a replayed insert can't resurrect the row.
"""

from enum import Enum

import msgspec

SNAPSHOT_READ = "r"


class ApplyMode(Enum):
    """Why a change is applied: a live event, the retry of a dead letter, or a repair."""

    LIVE = "live"
    RETRY = "retry"
    REPAIR = "repair"


class Version(msgspec.Struct, frozen=True):
    """The event that a row comes from. All parts are texts, so that every store compares them in the same way.

    `topic_partition` is topic id and partition, `offset` has a fixed width; together they identify the event.
    `position` is its place in the source's log (None if not comparable), and is comparable only within one
    `log_generation`.
    """

    topic_partition: str
    offset: str
    log_generation: str
    position: str | None
    operation: str

    @property
    def event(self) -> str:
        return f"{self.topic_partition}:{self.offset}"


# Topic id (32 hexadecimal digits), a colon, the partition (6 digits).
TOPIC_PARTITION_WIDTH = 39


def topic_partition(topic_id: str, partition: int) -> str:
    return f"{topic_id}:{partition:06d}"


def offset(number: int) -> str:
    return f"{number:019d}"


def comparable_generations(log_generation: str) -> tuple[str, str]:
    """The generations whose positions are comparable with those of this one: itself, and the one without a server."""
    log, slash, _ = log_generation.partition("/")
    return log_generation, log + slash


def applies(incoming: Version, stored: Version | None, mode: ApplyMode = ApplyMode.LIVE) -> bool:
    """Is the event applied to a row of this version? `stored` is None if there is neither row nor tombstone."""
    if stored is None:
        return True
    if mode is ApplyMode.REPAIR:
        return incoming.event == stored.event
    if incoming.topic_partition == stored.topic_partition and incoming.offset <= stored.offset:
        return False
    same_generation = stored.log_generation in comparable_generations(incoming.log_generation)
    comparable = same_generation and incoming.position is not None and stored.position is not None
    newer = comparable and incoming.position > stored.position  # type: ignore[operator]  # comparable: neither is None
    if mode is ApplyMode.RETRY:
        return newer
    return incoming.operation == SNAPSHOT_READ or not comparable or newer


def merged(incoming: Version, stored: Version | None) -> Version:
    """The version of the row after `incoming` is applied. If it has no position, the stored one stays."""
    if incoming.position is not None or stored is None:
        return incoming
    return Version(
        incoming.topic_partition, incoming.offset, stored.log_generation, stored.position, incoming.operation
    )


def supersedes(later: Version, earlier: Version) -> bool:
    """May `earlier` be left out of a batch because `later` follows it?

    Only if both end like the later one alone, whatever is stored: both are streaming events of one log generation and
    one topic-partition, in the log's order.
    """
    return (
        SNAPSHOT_READ not in (later.operation, earlier.operation)
        and later.topic_partition == earlier.topic_partition
        and later.offset > earlier.offset
        and later.log_generation == earlier.log_generation
        and later.position is not None
        and earlier.position is not None
        and later.position > earlier.position
    )
