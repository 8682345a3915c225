"""Events on the wire, and the ends of a stream."""

from typing import Protocol

from pydantic import Field

from service_kit.problems import Problem, ServiceUnavailable
from service_kit.schemas import ResponseBody


class Event(Protocol):
    """`text` is the encoded event, shared by all subscribers. `position` is its place in the source, or empty."""

    @property
    def text(self) -> bytes: ...

    @property
    def position(self) -> str: ...


_RETRY_SECONDS = 10


class TooManyStreams(ServiceUnavailable):
    code, title = "too-many-streams", "This process has as many subscribers as it allows. Try again shortly."

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=_RETRY_SECONDS)


class TooManyStreamsOfClient(Problem):
    """RFC 6585 §4. It is no rate: a stream that ends makes room for another one."""

    status, code, title = (
        429,
        "too-many-streams-of-client",
        "Too many open streams from this address or of this account. Close one first.",
    )

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(_RETRY_SECONDS)})


class StreamEnded(Exception):  # noqa: N818 - an end, not always an error
    """The end of a stream. `code` and `title` are sent to the client; without a code nothing is sent."""

    def __init__(self, code: str | None = None, title: str = "") -> None:
        super().__init__(code or "finished")
        self.code = code
        self.title = title


FINISHED = StreamEnded()
TOKEN_EXPIRED = StreamEnded("token-expired", "The access token has expired. Connect again with a new one.")
TOO_SLOW = StreamEnded("too-slow", "The client reads more slowly than events arrive.")
UNAVAILABLE = StreamEnded(ServiceUnavailable.code, ServiceUnavailable.title)


class End(ResponseBody):
    """The reason of an early end."""

    code: str = Field(examples=["too-slow"])
    title: str = Field(examples=["The client reads more slowly than events arrive."])


def message(event: str, data: str, position: str | None = None) -> bytes:
    """Encode an event; `data` has no line breaks. Without a position (`id`) the place to resume does not change."""
    id_field = "" if position is None else f"id: {position}\n"
    return f"{id_field}event: {event}\ndata: {data}\n\n".encode()


def heartbeat(position: str | None = None) -> bytes:
    """Encode a heartbeat: a comment, and the place to resume. It is not an event for the client."""
    id_field = "" if position is None else f"id: {position}\n"
    return f": heartbeat\n{id_field}\n".encode()


def end_message(end: StreamEnded) -> bytes:
    """The event that says why the stream ends, or nothing."""
    if end.code is None:
        return b""
    return message("end", End(code=end.code, title=end.title).model_dump_json())
