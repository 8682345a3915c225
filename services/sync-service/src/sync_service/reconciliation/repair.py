"""Mends a copy so that nothing newer is overwritten and nothing older comes back.

A row that is mended gets a version as if a snapshot had read it:

- *Its event stays* that which it had (`stream` and `offset`), and the write takes place only if it is still that
  (`Flow.REPAIR`): whatever the sync has applied since the look wins. A row that never had an event gets `NO_STREAM`,
  which equals no topic's, and is only written if there is still none.
- *Its position becomes* that of the newest event that the topic had before the look, all of which the sync was done
  with. Whatever is in the topic by then was in the source by then, so the row that was read has it. A later event
  has a higher position and wins. An older one, put on the topic again by Connect or out of the dead letters, has not,
  and is refused; that is why it is not enough to keep the position of the event that made the row: the events between
  that one and the look, the very ones that got lost, would be taken for newer.
- Where no such position can be told (the topic is empty, or its last events are of different epochs), the position
  stays what it was. A row that had none then is beaten by every live event, and by no dead letter.

An extra row becomes a tombstone with a version made likewise: its deletion got lost, a replayed insert may still come.
"""

from collections.abc import Sequence

from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import SNAPSHOT_READ, Flow, Version, comparable_epochs, offset, stream
from sync_service.reconciliation.recheck import Lasting
from sync_service.reconciliation.rows import CannotCompare, CopyRow, Kind
from sync_service.reconciliation.topic import Place
from sync_service.sinks.base import Rejected, Sink, Unavailable

# No topic has this id (KIP-516).
NO_STREAM = stream("0" * 32, 0)
NO_EVENT = f"{NO_STREAM}:{offset(0)}"
WRITTEN_AT_ONCE = 500
_DELETE = "d"


def mending(lasting: Lasting, newest: Place | None) -> Change | None:
    """What has to be written; None if nothing can be. Pure."""
    look, source = lasting.look, lasting.look.source
    if lasting.difference.kind is Kind.UNFIT:
        return None
    values = None if source is None else source.values
    return Change(look.key, values, _version(look.copy, newest, SNAPSHOT_READ if values is not None else _DELETE))


def _version(copy: CopyRow | None, newest: Place | None, operation: str) -> Version:
    stored = copy.version if copy is not None else None
    if stored is None:
        epoch, position = (newest.epoch, newest.position) if newest is not None else ("", None)
        return Version(NO_STREAM, offset(0), epoch, position, operation)
    if newest is None or _is_behind(newest, stored):
        # Without a position, the sinks leave the one that is stored.
        return Version(stored.stream, stored.offset, stored.epoch, None, operation)
    return Version(stored.stream, stored.offset, newest.epoch, newest.position, operation)


def _is_behind(newest: Place, stored: Version) -> bool:
    alike = stored.epoch in comparable_epochs(newest.epoch)
    return alike and stored.position is not None and newest.position <= stored.position


async def write(sink: Sink, changes: Sequence[Change]) -> dict[Key, str]:
    """Write what the copy takes. Which rows it does not take, and why. Raises `CannotCompare`."""
    refused: dict[Key, str] = {}
    for start in range(0, len(changes), WRITTEN_AT_ONCE):
        await _write(sink, changes[start : start + WRITTEN_AT_ONCE], refused)
    return refused


async def _write(sink: Sink, changes: Sequence[Change], refused: dict[Key, str]) -> None:
    """By halves, if the store rejects them because of what is in one of them."""
    try:
        await sink.write(changes, Flow.REPAIR)
    except Unavailable as error:
        raise CannotCompare(f"the copy can't be mended: {error}") from error
    except Rejected as error:
        if len(changes) == 1:
            refused[changes[0].key] = str(error)
            return
        half = len(changes) // 2
        await _write(sink, changes[:half], refused)
        await _write(sink, changes[half:], refused)
