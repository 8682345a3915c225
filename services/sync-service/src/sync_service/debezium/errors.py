"""What can be wrong with an event. Each is a data error: the event goes to the dead letters, alone.

InvalidEvent
├── MissingKey             it does not say which row it is about
├── UnsupportedOperation   an `op` that can't be applied to a row
└── UnfitValue             a value that the copy can't hold
"""


class InvalidEvent(Exception):  # noqa: N818 - the event is, the program is not
    """An event that is not what Debezium writes."""


class MissingKey(InvalidEvent):
    pass


class UnsupportedOperation(InvalidEvent):
    pass


class UnfitValue(InvalidEvent):
    pass
