"""The place of a transaction in its source's log, and what can be proved about the order of two of them.

Binary log files and positions belong to one server, transaction numbers to one server's history, and clocks differ
from server to server. So a position is compared only within one generation of a log, and two transactions have a
provable order only if their numbers and the times of their commits agree about it. Where they contradict each other (a
restored server counts from 1 again, a group of servers assigns its numbers in blocks, a new primary's clock is behind),
they prove nothing.
"""

from typing import Self

import msgspec

from sync_service.debezium.errors import InvalidEvent

_TIME_ENDS_MS = 10**15


class LogPosition(msgspec.Struct, frozen=True, gc=False):
    """`transaction` is a text of fixed width within one `generation`, and sorts in the order of the log's transactions.

    The transaction was committed between `earliest_ms` and `latest_ms`, by the clock of the most advanced server of the
    generation; milliseconds since the Unix epoch.
    """

    generation: str
    transaction: str
    earliest_ms: int
    latest_ms: int

    def __post_init__(self) -> None:
        """Raises `InvalidEvent` for a time that the text of a position has no place for."""
        if not 0 <= self.earliest_ms <= self.latest_ms < _TIME_ENDS_MS:
            raise InvalidEvent(f"no time of a change: {self.earliest_ms}")

    def precedes(self, other: "LogPosition | None") -> bool:
        """Is this transaction provably older than the other one? Never of a transaction and itself."""
        return (
            other is not None
            and self.generation == other.generation
            and self.transaction < other.transaction
            and self.latest_ms <= other.earliest_ms
        )

    @property
    def text(self) -> str:
        """What is stored beside the generation. The guards of the sinks take it apart."""
        return f"{self.transaction}@{self.earliest_ms:015d}-{self.latest_ms:015d}"

    @property
    def earliest(self) -> str:
        return f"{self.earliest_ms:015d}"

    @property
    def latest(self) -> str:
        return f"{self.latest_ms:015d}"

    @classmethod
    def stored(cls, generation: str | None, text: str | None) -> Self | None:
        """What was stored. None of a row without a position, and of other texts, which prove nothing.

        Releases up to 0.1 have stored a file or a clock alone.
        """
        transaction, at, times = (text or "").partition("@")
        earliest, dash, latest = times.partition("-")
        if not (generation and at and dash and earliest.isdecimal() and latest.isdecimal()):
            return None
        return cls(generation, transaction, int(earliest), int(latest))
