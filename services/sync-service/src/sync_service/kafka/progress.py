"""The progress of a partition. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` is the offset after the last applied event, `end` the offset that the next event will get.

    `oldest_seconds` is the age of the oldest event that waits in this process.
    """

    done: int
    end: int
    oldest_seconds: float | None = None

    @property
    def lag(self) -> int:
        return max(0, self.end - self.done)
