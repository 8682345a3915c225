"""The request id, from the client's header to every log line."""

import random
import re
from contextvars import ContextVar
from uuid import UUID

REQUEST_ID_HEADER = "X-Request-ID"

# What a client may choose: anything else could forge log lines or headers.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    return _request_id.get()


def begin_request(offered: str | None) -> str:
    """Take the client's request id if it is well-formed, else make one, and remember it for this task."""
    request_id = offered if offered and _ACCEPTED.fullmatch(offered) else _new_id()
    _request_id.set(request_id)
    return request_id


def _new_id() -> str:
    """A UUIDv4. It need not be hard to guess, and asking the system for randomness takes longer."""
    return str(UUID(int=random.getrandbits(128), version=4))
