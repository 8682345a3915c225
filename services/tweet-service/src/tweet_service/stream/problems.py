"""What can go wrong with a stream, before it begins and later."""

from service_kit.problems import FieldError, Problem, ServiceUnavailable, ValidationFailed


class InvalidPosition(ValidationFailed):
    code, title = "invalid-stream-position", "The id is not one that the stream handed out."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(parameter="Last-Event-ID", code=self.code, detail=self.title)])


class PositionLost(Problem):
    """RFC 9110 §15.5.11"""

    status, code, title = 410, "stream-position-lost", "The log does not reach back to this id any more. Begin anew."


class StreamInvalidated(PositionLost):
    """The collection was dropped or renamed: MongoDB takes no position beyond that."""


class TooManyStreams(ServiceUnavailable):
    code, title = "too-many-streams", "There are as many listeners as this process takes. Try again shortly."

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=10)


class StreamEnded(Exception):  # noqa: N818 - an end, not always a fault
    """A stream is over: `code` and `title` say why, to the client too, or there is nothing to say."""

    def __init__(self, code: str | None = None, title: str = "") -> None:
        super().__init__(code or "at its end")
        self.code = code
        self.title = title


FINISHED = StreamEnded()
TOO_SLOW = StreamEnded("too-slow", "The client reads more slowly than tweets come in.")
LOST = StreamEnded(PositionLost.code, PositionLost.title)
UNAVAILABLE = StreamEnded(ServiceUnavailable.code, ServiceUnavailable.title)
