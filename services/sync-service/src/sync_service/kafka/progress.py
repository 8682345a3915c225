"""How far the consumption of a partition is. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a partition: `done` is the offset after the last event that is done with, `end` that of the next one to come.

    `oldest_seconds` is how long ago the oldest event that waits in this process came to the topic.
    """

    done: int
    end: int
    oldest_seconds: float | None = None

    @property
    def lag(self) -> int:
        return max(0, self.end - self.done)
