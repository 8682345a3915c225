"""Errors in an event. Each is a data error: only this event goes to the dead letters.

InvalidEvent
├── MissingKey             the row is not identified
│   └── NoKeys             no key at all; if this holds for every event of the topic, the route stops
├── UnsupportedOperation   an `op` that does not change a single row
│   └── Truncated          the source lost all rows of a table
└── UnfitValue             a value that the copy can't store

No message quotes the event: a record that is not of Debezium may contain anything, and logs have the message.
"""

import re

# msgspec quotes a value that is none of the permitted ones.
_QUOTED = re.compile(r"^(Invalid (?:enum )?value) .*?( - at `[^`]*`)?$", re.DOTALL)


def without_values(error: Exception) -> str:
    """The message of an error in decoding."""
    return _QUOTED.sub(r"\1\2", str(error))


class InvalidEvent(Exception):  # noqa: N818 - the event is invalid
    """A record that is not a change event as Debezium writes it."""


class MissingKey(InvalidEvent):
    pass


class NoKeys(MissingKey):
    """The connector writes no keys, because the table has no primary key."""


class UnsupportedOperation(InvalidEvent):
    pass


class Truncated(UnsupportedOperation):
    pass


class UnfitValue(InvalidEvent):
    pass


class MissingColumn(UnfitValue):
    """The row lacks a column that the route copies."""
