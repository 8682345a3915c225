"""MySQL as a source: its place in the binary log, as Debezium writes it.

Fields of `source`: Debezium docs, "MySQL connector", change event values.
"""

from functools import lru_cache
from typing import ClassVar

from sync_service.debezium.errors import InvalidEvent
from sync_service.debezium.positions import LogPosition
from sync_service.debezium.source import Source

# Without GTIDs, changes have a provable order only if their statements began further apart than this.
STATEMENT_MS = 60_000


class MysqlSource(Source, frozen=True, tag="mysql"):
    """`server_id` is that of the server on which the transaction was committed first."""

    names: ClassVar[tuple[str, ...]] = ("mysql", "mariadb")

    table: str | None = None
    server_id: int | None = None
    gtid: str | None = None
    file: str | None = None
    pos: int | None = None
    row: int | None = None

    @property
    def position(self) -> LogPosition:
        """With GTIDs, the number of the transaction. Without, the place of the event in the binary log.

        The time is that of the commit with GTIDs; without them, it is the start of the statement, in whole seconds.

        A tagged GTID (`uuid:tag:number`) is numbered by its tag. The uuid of a replication group says nothing about the
        server, therefore the generation names both. With `binlog_transaction_compression`, all events of a transaction
        have one place, which is right: they are one transaction.
        """
        if self.gtid:
            history, _, number = self.gtid.rpartition(":")
            if not history or not number.isdecimal():
                raise InvalidEvent("the GTID in the source is none")
            log, transaction, duration_ms = f"mysql-gtid:{history}", f"{int(number):020d}", 0
        else:
            base, file_number = _log_file(self.file)
            if file_number is None or self.pos is None:
                raise InvalidEvent("no position in the binary log in the source")
            log, transaction, duration_ms = f"mysql-binlog:{base}", f"{file_number}.{self.pos:020d}", STATEMENT_MS
        return LogPosition(f"{log}/{self.server_id}", transaction, self.ts_ms, self.ts_ms + duration_ms)


# Many events in a row come from the same file.
@lru_cache(maxsize=16)
def _log_file(name: str | None) -> tuple[str, str | None]:
    """Base name, and number of fixed width (`.1000000` follows `.999999`); None if there is no number.

    Raises `InvalidEvent`.
    """
    if not name:
        raise InvalidEvent("no binary log file in the source")
    base, _, number = name.rpartition(".")
    return base, f"{int(number):010d}" if number.isdecimal() else None
