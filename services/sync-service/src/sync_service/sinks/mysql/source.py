"""MySQL as a source: its place in the binary log, as Debezium writes it.

Fields of `source`: Debezium docs, "MySQL connector", change event values.
"""

from functools import lru_cache

from sync_service.debezium.errors import InvalidEvent
from sync_service.debezium.source import Source


class MysqlSource(Source, frozen=True, tag="mysql"):
    table: str | None = None
    gtid: str | None = None
    file: str | None = None
    pos: int | None = None
    row: int | None = None

    @property
    def log_generation(self) -> str:
        """The base name of the binary log, and the server's uuid.

        A snapshot does not know the uuid. It comes last, so a generation without it is a prefix of those with one, and
        is comparable with all of them (`apply.ordering`).
        """
        base, _ = _log_file(self.file)
        server, _, _ = (self.gtid or "").partition(":")
        return f"mysql:{base}/{server}"

    @property
    def position(self) -> str:
        """Number of the binary log file (as a number: `.1000000` follows `.999999`), position, row of the event."""
        _, number = _log_file(self.file)
        if number is None or self.pos is None or self.row is None:
            raise InvalidEvent(f"no position in the binary log: {self.file!r} {self.pos!r} {self.row!r}")
        return f"{number}.{self.pos:020d}.{self.row:010d}"


# Many events in a row come from the same file.
@lru_cache(maxsize=16)
def _log_file(name: str | None) -> tuple[str, str | None]:
    """Base name, and number of fixed width; None if there is no number. Raises `InvalidEvent`."""
    if not name:
        raise InvalidEvent("no binary log file in the source")
    base, _, number = name.rpartition(".")
    return base, f"{int(number):010d}" if number.isdecimal() else None
