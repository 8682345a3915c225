"""The latest events of a process, numbered as they come. Pure."""

from bisect import bisect_right
from collections.abc import Sequence

from tweet_service.stream.events import StreamEvent


class Backlog:
    """`first` is the number of the oldest event that is kept, `end` that of the next one to come.

    All that happened behind the position `low` and not behind `position` is in it.
    """

    def __init__(self, capacity: int, position: str) -> None:
        self._events: list[StreamEvent | None] = [None] * capacity
        self.first = self.end = 0
        self.low = self.position = position

    def append(self, event: StreamEvent) -> None:
        slot = self.end % len(self._events)
        evicted = self._events[slot]
        if evicted is not None:
            self.low = evicted.position
            self.first += 1
        self._events[slot] = event
        self.end += 1
        self.position = event.position

    @property
    def room(self) -> int:
        return len(self._events) - (self.end - self.first)

    def prepend(self, events: Sequence[StreamEvent], position: str) -> None:
        """All that happened between a position and `low`, for which there must be room."""
        for event in reversed(events):
            self.first -= 1
            self._events[self.first % len(self._events)] = event
        self.low = position

    def advance(self, position: str) -> None:
        """Nothing happened up to here."""
        self.position = max(self.position, position)

    def __getitem__(self, number: int) -> StreamEvent:
        event = self._events[number % len(self._events)]
        if event is None or not self.first <= number < self.end:
            raise IndexError(number)
        return event

    def reaches_back_to(self, position: str) -> bool:
        return position >= self.low

    def number_behind(self, position: str) -> int:
        """The number of the first event behind a position to which it reaches back."""
        return self.first + bisect_right(
            range(self.first, self.end), position, key=lambda number: self[number].position
        )
