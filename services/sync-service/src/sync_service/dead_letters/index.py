"""An index of the open dead letters. Pure.

It holds the id and the topic of each open one, and the resolution of each other one: about 200 bytes for each dead
letter that the topic still has.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from sys import intern

from sync_service.dead_letters.models import DeadLetter, DeadLetterId, Record, Resolution, read


class DeadLetterIndex:
    """Of the topic `topic_id`. `reached` is the offset of the next record to note, by partition."""

    def __init__(self, topic_id: str) -> None:
        self.topic_id = topic_id
        self.reached: dict[int, int] = {}
        self._open: dict[DeadLetterId, str] = {}
        self._resolved: dict[DeadLetterId, Resolution] = {}
        # The copy that counts of a dead letter that was written again.
        self._copies: dict[DeadLetterId, DeadLetterId] = {}

    def note(self, record: Record) -> None:
        """Add a record. The records of a partition must come in order."""
        self.reached[record.partition] = record.offset + 1
        match read(record):
            case DeadLetter() as letter:
                self._note_letter(letter)
            case Resolution() as resolution:
                # The process that resolved it may not have seen its copy yet.
                resolved = self._copies.get(resolution.letter, resolution.letter)
                if self._open.pop(resolved, None) is not None:
                    self._resolved[resolved] = resolution

    def _note_letter(self, letter: DeadLetter) -> None:
        if (original := letter.replaces) is not None:
            if original in self._copies:
                # A process that died in between has written the first one.
                return
            self._copies[original] = letter.id
            self._open.pop(original, None)
            if (resolution := self._resolved.pop(original, None)) is not None:
                self._resolved[letter.id] = resolution
                return
        self._open[letter.id] = intern(letter.origin.topic)

    def forget_before(self, first: Mapping[int, int]) -> None:
        """Forget what has been deleted from the topic: everything before these offsets, by partition."""
        for known in (self._open, self._resolved):
            for letter in [each for each in known if each.offset < first.get(each.partition, 0)]:
                del known[letter]
        self._copies = {
            letter: copy for letter, copy in self._copies.items() if copy.offset >= first.get(copy.partition, 0)
        }

    def has(self, letter: DeadLetterId) -> bool:
        return letter in self._open or letter in self._resolved

    def is_open(self, letter: DeadLetterId) -> bool:
        return letter in self._open

    def resolution(self, letter: DeadLetterId) -> Resolution | None:
        """The resolution of a dead letter; None while it is open, or if it does not exist."""
        return self._resolved.get(letter)

    def open_by_topic(self) -> Mapping[str, int]:
        """The number of open ones, by the topic of their events."""
        return Counter(self._open.values())

    def open_after(self, letter: DeadLetterId | None, topics: Collection[str] | None) -> Iterator[DeadLetterId]:
        """The open ones after a given id, the oldest first, of these topics.

        None: from the beginning, of all topics.
        """
        for each, topic in sorted(self._open.items()):
            if (letter is None or each > letter) and (topics is None or topic in topics):
                yield each
