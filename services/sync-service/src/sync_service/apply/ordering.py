"""The apply rule: which event wins. The guarded statements of the sinks are tested against it.

Within one topic-partition, Kafka's order of a row's events is the source's order, except where Kafka Connect repeats
itself after a crash, and then up to the newest event. So the copy ends right if every event is applied. Events are
skipped for the readers, who shall not see a row go back; a wrong skip is a loss. So **skip only what is provably older;
in doubt, apply.**

1. Same topic-partition, and the offset is not above the stored one: a redelivery, skip. Unless the stored transaction
   provably precedes its own: then the log has lost its tail, with the stored event, and gives its offsets again. (What
   is stored of a snapshot read may precede it, see 4.)
2. The transaction provably precedes the stored one in the source's log (`debezium.positions`): a replay, skip.
   Events of one transaction have the same position, and are applied in the order of the topic.
3. Everything else is applied: snapshot reads, which have no position, and events of another log generation.
4. A dead letter that is retried is applied only if it is newer: the stored transaction provably precedes its own, or it
   follows the stored event in the same topic-partition and 2 does not hold. Two kinds of rows are newer than what is
   stored of them: to a snapshot read's the first way is closed, and to a repaired one's the second.
5. A repair (`reconciliation.repair`) is applied only if the row still has the version that the repair has read.
6. A delete leaves a tombstone with a version like any row's, so that a replayed insert can't resurrect the row.

An event without a position leaves the stored position in place: the row is at least as new as that.
"""

from enum import Enum

import msgspec

from sync_service.debezium.envelope import SNAPSHOT_READ
from sync_service.debezium.positions import LogPosition

# The operation of a row that a repair has written ("mended").
REPAIRED = "m"


class ApplyMode(Enum):
    """Why a change is applied: a live event, the retry of a dead letter, or a repair."""

    LIVE = "live"
    RETRY = "retry"
    REPAIR = "repair"


class Version(msgspec.Struct, frozen=True, gc=False):
    """The event that a row comes from.

    `topic_partition` is topic id and partition, `offset` has a fixed width; together they identify the event.
    `position` is the place of its transaction in the source's log; None if unknown, as for a snapshot.
    """

    topic_partition: str
    offset: str
    position: LogPosition | None
    operation: str

    @property
    def event(self) -> str:
        """As it is stored. (Of a row that was written by hand it may be any text.)"""
        return f"{self.topic_partition}:{self.offset}" if self.offset else self.topic_partition

    @classmethod
    def stored(cls, event: str, generation: str, position: str | None, operation: str) -> "Version":
        """The version of a stored row, from the texts that the sinks store."""
        topic_partition, offset = event[:TOPIC_PARTITION_WIDTH], event[TOPIC_PARTITION_WIDTH + 1 :]
        return cls(topic_partition, offset, LogPosition.stored(generation, position), operation)


# Topic id (32 hexadecimal digits), a colon, the partition (6 digits).
TOPIC_PARTITION_WIDTH = 39


def topic_partition(topic_id: str, partition: int) -> str:
    return f"{topic_id}:{partition:06d}"


def offset(number: int) -> str:
    return f"{number:019d}"


def applies(incoming: Version, stored: Version | None, mode: ApplyMode = ApplyMode.LIVE) -> bool:
    """Is the event applied to a row of this version? `stored` is None if there is neither row nor tombstone."""
    if stored is None:
        return True
    if mode is ApplyMode.REPAIR:
        return incoming.event == stored.event
    same_partition = incoming.topic_partition == stored.topic_partition
    is_redelivered = same_partition and incoming.offset <= stored.offset
    is_older = incoming.position is not None and incoming.position.precedes(stored.position)
    own_position = stored.position if stored.operation != SNAPSHOT_READ else None
    is_newer = own_position is not None and own_position.precedes(incoming.position)
    if mode is ApplyMode.LIVE:
        return is_newer or not (is_redelivered or is_older)
    if is_redelivered:
        return False
    follows = same_partition and stored.operation != REPAIRED
    return is_newer or (follows and not is_older)


def merged(incoming: Version, stored: Version | None) -> Version:
    """The version of the row after `incoming` is applied. If it has no position, the stored one stays."""
    if incoming.position is not None or stored is None:
        return incoming
    return Version(incoming.topic_partition, incoming.offset, stored.position, incoming.operation)


def supersedes(later: Version, earlier: Version) -> bool:
    """May `earlier` be left out of a batch because `later` follows it?

    Only if both end like the later one alone, whatever is stored: what precedes a stored transaction must not become
    applicable by the other one. So both have positions of one generation, and the later one's is in no part lower.
    """
    return (
        later.topic_partition == earlier.topic_partition
        and later.offset > earlier.offset
        and later.position is not None
        and earlier.position is not None
        and later.position.generation == earlier.position.generation
        and later.position.transaction >= earlier.position.transaction
        and later.position.latest_ms >= earlier.position.latest_ms
    )
