"""The latest events of a process, numbered as they come. Pure."""

from collections import deque
from dataclasses import dataclass

from sync_service.change_feed.event_view import EventView


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """`text` is written once and shared by all who get it."""

    view: EventView
    text: bytes


class Backlog:
    """`first` is the number of the oldest event that is kept, `end` that of the next one to come.

    It holds `most_events`, and of large ones so many fewer that they are no more than `most_bytes`; the latest one it
    holds in any case.
    """

    def __init__(self, most_events: int, most_bytes: int) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: deque[FeedEvent] = deque()
        self._bytes = 0
        self.first = self.end = 0

    def append(self, event: FeedEvent) -> None:
        self._events.append(event)
        self._bytes += len(event.text)
        self.end += 1
        while len(self._events) > 1 and (len(self._events) > self._most_events or self._bytes > self._most_bytes):
            self._bytes -= len(self._events.popleft().text)
            self.first += 1

    def __getitem__(self, number: int) -> FeedEvent:
        if not self.first <= number < self.end:
            raise IndexError(number)
        return self._events[number - self.first]
