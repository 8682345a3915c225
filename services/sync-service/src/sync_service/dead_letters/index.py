"""Which letters are open. Pure.

It holds a number and a topic's name of each open letter, and of each other one what became of it: about 200 bytes a
letter of those that the topic still has.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from sys import intern

from sync_service.dead_letters.models import DeadLetter, DeadLetterId, Record, Resolution, read


class DeadLetterIndex:
    """Of one topic, `topic_id`. `reached` is where in each partition the next record to be noted is."""

    def __init__(self, topic_id: str) -> None:
        self.topic_id = topic_id
        self.reached: dict[int, int] = {}
        self._open: dict[DeadLetterId, str] = {}
        self._resolved: dict[DeadLetterId, Resolution] = {}

    def note(self, record: Record) -> None:
        """Records come in the order of their partition."""
        self.reached[record.partition] = record.offset + 1
        match read(record):
            case DeadLetter() as letter:
                self._open[letter.id] = intern(letter.origin.topic)
            case Resolution() as resolution if self._open.pop(resolution.letter, None) is not None:
                self._resolved[resolution.letter] = resolution

    def forget_before(self, first: Mapping[int, int]) -> None:
        """Of each partition, what is before an offset has been deleted by now."""
        for known in (self._open, self._resolved):
            for letter in [each for each in known if each.offset < first.get(each.partition, 0)]:
                del known[letter]

    def has(self, letter: DeadLetterId) -> bool:
        return letter in self._open or letter in self._resolved

    def is_open(self, letter: DeadLetterId) -> bool:
        return letter in self._open

    def resolution(self, letter: DeadLetterId) -> Resolution | None:
        """What became of it; None while it is open, or if there is no such letter."""
        return self._resolved.get(letter)

    def open_by_topic(self) -> Mapping[str, int]:
        """How many are open, by the topic that they came from."""
        return Counter(self._open.values())

    def open_after(self, letter: DeadLetterId | None, topics: Collection[str] | None) -> Iterator[DeadLetterId]:
        """Those behind a letter (None: all), the oldest first, that came from these topics (None: from any)."""
        for each, topic in sorted(self._open.items()):
            if (letter is None or each > letter) and (topics is None or topic in topics):
                yield each
