"""A ring buffer of the latest events. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Generic, TypeVar

from service_kit.sse.events import Event

EventT = TypeVar("EventT", bound=Event)


class EventBuffer(Generic[EventT]):
    """Numbers the events in order: `first` is the oldest in the buffer, `end` the next one to arrive.

    It holds `capacity` events, and fewer if they would exceed `max_bytes`, but always the latest one. It contains all
    events after the position `low` and up to `position`. Positions sort as text; a source without positions ignores
    them.
    """

    def __init__(self, capacity: int, *, max_bytes: int | None = None, position: str = "") -> None:
        self._events: list[EventT | None] = [None] * capacity
        self._max_bytes = max_bytes
        self._bytes = 0
        self.first = self.end = 0
        self.low = self.position = position

    def append(self, event: EventT) -> None:
        if not self.room:
            self._drop_first()
        self._events[self.end % len(self._events)] = event
        self.end += 1
        self._bytes += len(event.text)
        self.position = event.position
        while self._max_bytes is not None and self._bytes > self._max_bytes and self.end - self.first > 1:
            self._drop_first()

    @property
    def room(self) -> int:
        """How many events fit without dropping one."""
        return len(self._events) - (self.end - self.first)

    def prepend(self, events: Sequence[EventT], position: str) -> None:
        """Add all events between a position and `low`. There must be room for them."""
        for event in reversed(events):
            self.first -= 1
            self._events[self.first % len(self._events)] = event
            self._bytes += len(event.text)
        self.low = position

    def advance(self, position: str) -> None:
        """Note that there are no further events up to a position."""
        self.position = max(self.position, position)

    def __getitem__(self, number: int) -> EventT:
        event = self._events[number % len(self._events)]
        if event is None or not self.first <= number < self.end:
            raise IndexError(number)
        return event

    def reaches_back_to(self, position: str) -> bool:
        """Whether the buffer contains all events after a position."""
        return position >= self.low

    def number_after(self, position: str) -> int:
        """The number of the first event after a position to which the buffer reaches back."""
        return self.first + bisect_right(
            range(self.first, self.end), position, key=lambda number: self[number].position
        )

    def _drop_first(self) -> None:
        slot = self.first % len(self._events)
        dropped = self._events[slot]
        self._events[slot] = None
        self.first += 1
        if dropped is not None:
            self.low = dropped.position
            self._bytes -= len(dropped.text)
