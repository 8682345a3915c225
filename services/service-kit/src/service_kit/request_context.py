"""The request id: from the header to every log line."""

import re
from contextvars import ContextVar
from uuid import uuid4

REQUEST_ID_HEADER = "X-Request-ID"

# Anything else in a client's request id could forge log lines or headers.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    return _request_id.get()


def begin_request(offered: str | None) -> str:
    """Use the client's request id if it is well-formed, else create one, and store it for this task."""
    request_id = offered if offered and _ACCEPTED.fullmatch(offered) else str(uuid4())
    _request_id.set(request_id)
    return request_id
