"""Problems of a stream, before it begins and later."""

from service_kit.problems import Problem, ValidationFailed
from service_kit.sse.events import StreamEnded


class InvalidPosition(ValidationFailed):
    code, title = "invalid-stream-position", "The id is not from this stream."
    parameter = "Last-Event-ID"


class PositionLost(Problem):
    """RFC 9110 §15.5.11"""

    status, code, title = (
        410,
        "stream-position-lost",
        "The log does not reach back to this id any more. Start a new stream.",
    )


class StreamInvalidated(PositionLost):
    """The collection was dropped or renamed: MongoDB accepts no position before that."""


LOST = StreamEnded(PositionLost.code, PositionLost.title)
