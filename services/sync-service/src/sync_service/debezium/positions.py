"""Where in its source's log an event comes from, as text that sorts like the log.

Positions of different epochs say nothing about each other. Fields of `source`: Debezium docs, "MySQL connector"
and "MongoDB connector", section change events.
"""

from functools import lru_cache

from sync_service.debezium.envelope import Source
from sync_service.debezium.errors import InvalidEvent

SNAPSHOT_ORD = -1


def log_generation(source: Source) -> str:
    """Within which positions are comparable.

    MySQL: the base name of the binary log and the server's uuid, which a snapshot does not know. It comes last, so
    an epoch without it is a prefix of every epoch with one, and matches them all. MongoDB: the connector's name.
    """
    if source.connector != "mysql":
        return f"{source.connector}:{source.name}"
    base, _ = _log_file(source.file)
    server, _, _ = (source.gtid or "").partition(":")
    return f"mysql:{base}/{server}"


def position(source: Source) -> str | None:
    """The place in the log; None where it can't be compared.

    MySQL: number of the binary log file (as a number: `.1000000` follows `.999999`), position, row of the event.
    MongoDB: time and ordinal; a snapshot read has the connector's clock instead and `ord` -1, so it has none.
    """
    if source.connector == "mysql":
        _, number = _log_file(source.file)
        if number is None or source.pos is None or source.row is None:
            raise InvalidEvent(f"no position in the binary log: {source.file!r} {source.pos!r} {source.row!r}")
        return f"{number}.{source.pos:020d}.{source.row:010d}"
    if source.ord is None or source.ord == SNAPSHOT_ORD:
        return None
    return f"{source.ts_ms:020d}.{source.ord:010d}"


# The same file for a great many events.
@lru_cache(maxsize=16)
def _log_file(name: str | None) -> tuple[str, str | None]:
    """Base name and number of fixed width, which is None if there is none."""
    if not name:
        raise InvalidEvent("no binary log file in the source")
    base, _, number = name.rpartition(".")
    return base, f"{int(number):010d}" if number.isdecimal() else None
