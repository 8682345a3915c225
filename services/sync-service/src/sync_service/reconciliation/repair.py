"""Repairs a copy without overwriting newer rows and without bringing older ones back.

A repaired row gets a version of its own:

- *Its event stays* the one it had (`topic_partition` and `offset`), and the write takes effect only if the row still
  has that event (`ApplyMode.REPAIR`): changes that the sync has applied since the read win. A row that never had an
  event gets `NO_TOPIC_PARTITION`, which equals no topic's, and is written only if the row still does not exist.
- *Its position becomes* that of the newest event that the topic had before the read, when the sync had applied all of
  them. All events in the topic by then were in the source by then, so the row that was read includes them. A later
  event wins. An older one, sent again by Connect, is refused where its age is provable; an older dead letter is always
  refused. Keeping the position of the row's own event would not do: the lost events between that event and the read
  would count as newer.
- Where this position is unknown (the topic is empty, its last events are of different log generations, or nothing
  proves that it is later than the row's own), it becomes `UNKNOWN_POSITION`: every live event overwrites the row, no
  dead letter does.
- *Its operation becomes* `REPAIRED`, which dead letters of the row's own partition respect.

An extra row becomes a tombstone with such a version: its delete event was lost, and a replayed insert may still come.
"""

from collections.abc import Sequence

from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import REPAIRED, ApplyMode, Version, offset, topic_partition
from sync_service.debezium.positions import LogPosition
from sync_service.reconciliation.differences import DifferenceKind
from sync_service.reconciliation.recheck import ConfirmedDifference
from sync_service.sinks.base import Rejected, Sink, Unavailable
from sync_service.sinks.rows import CannotCompare, CopyRow

# No topic has this id (KIP-516).
NO_TOPIC_PARTITION = topic_partition("0" * 32, 0)
NO_EVENT = f"{NO_TOPIC_PARTITION}:{offset(0)}"
# It has a generation of its own, so nothing is comparable with it.
UNKNOWN_POSITION = LogPosition("repair", "", 0, 0)
WRITTEN_AT_ONCE = 500


def repair_change(confirmed: ConfirmedDifference, newest: LogPosition | None) -> Change | None:
    """The change that repairs a row; None if it can't be repaired. Pure."""
    pair, source = confirmed.pair, confirmed.pair.source
    if confirmed.difference.kind is DifferenceKind.UNFIT:
        return None
    values = None if source is None else source.values
    version = _version(pair.copy, newest or UNKNOWN_POSITION)
    return Change(pair.key, values, version, source_id="" if source is None else source.source_id)


def _version(copy: CopyRow | None, newest: LogPosition) -> Version:
    stored = copy.version if copy is not None else None
    if stored is None:
        return Version(NO_TOPIC_PARTITION, offset(0), newest, REPAIRED)
    return Version(stored.topic_partition, stored.offset, _later(stored.position, newest), REPAIRED)


def _later(stored: LogPosition | None, newest: LogPosition) -> LogPosition:
    if stored is None or stored == newest or stored.precedes(newest):
        return newest
    return stored if newest.precedes(stored) else UNKNOWN_POSITION


async def write_repairs(sink: Sink, changes: Sequence[Change]) -> dict[Key, str]:
    """Write repairs. Returns the rejected rows with the reasons. Raises `CannotCompare`."""
    refused: dict[Key, str] = {}
    for start in range(0, len(changes), WRITTEN_AT_ONCE):
        await _write(sink, changes[start : start + WRITTEN_AT_ONCE], refused)
    return refused


async def _write(sink: Sink, changes: Sequence[Change], refused: dict[Key, str]) -> None:
    """If the store rejects the changes, write their halves, until only the rejected ones are left."""
    try:
        await sink.write(changes, ApplyMode.REPAIR)
    except Unavailable as error:
        raise CannotCompare(f"the copy can't be repaired: {error}") from error
    except Rejected as error:
        if len(changes) == 1:
            refused[changes[0].key] = str(error)
            return
        half = len(changes) // 2
        await _write(sink, changes[:half], refused)
        await _write(sink, changes[half:], refused)
