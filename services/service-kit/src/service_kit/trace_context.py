"""W3C Trace Context, level 1 (w3.org/TR/trace-context-1): one trace id for a request in all services.

Each request is a span of the caller's trace, or starts a new trace. Log lines contain trace and span id; calls of other
services send the headers. There is no collector: search the logs of all services for the trace id.
"""

import random
import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import NamedTuple

import httpx

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FIRST_VERSION, _NO_VERSION = "00", "ff"
_SAMPLED = 0x01
# `tracestate` is a list of key=value. At least 512 characters must be propagated (§3.3.1.5), of 32 members at most.
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MAX_STATE, _MAX_MEMBERS = 512, 32


class TraceContext(NamedTuple):
    """`span_id` identifies the request in this process, `state` is the received `tracestate`, or empty."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def traceparent(self) -> str:
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{self.flags:02x}"


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def current_trace() -> TraceContext | None:
    """The trace of the current request; None outside of a request."""
    return _current.get()


def begin_span(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext:
    """Continue the trace in the headers of an ASGI request, or start one, and store it for this task."""
    parents: list[str] = []
    states: list[str] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    trace = _continued(parents, states) or TraceContext(_random_id(16), _random_id(8), _SAMPLED)
    _current.set(trace)
    return trace


async def propagate(request: httpx.Request) -> None:
    """httpx event hook: adds the trace of the current request to an outgoing call."""
    if trace := _current.get():
        request.headers["traceparent"] = trace.traceparent
        if trace.state:
            request.headers["tracestate"] = trace.state


def _continued(parents: Sequence[str], states: Sequence[str]) -> TraceContext | None:
    """None without exactly one valid `traceparent`; `tracestate` is ignored then, too (§4)."""
    match = _TRACEPARENT.fullmatch(parents[0].strip(" \t")) if len(parents) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    # A later version may append fields. It is propagated as version 00 (§3.2.4).
    if version == _NO_VERSION or (version == _FIRST_VERSION and more):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return TraceContext(trace_id, _random_id(8), int(flags, 16) & _SAMPLED, _propagated_state(states) if states else "")


def _propagated_state(states: Sequence[str]) -> str:
    """All `tracestate` headers as one value; empty if it is malformed or too long."""
    members = [member.strip(" \t") for state in states for member in state.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    state = ",".join(members)
    is_valid = len(keys) == len(members) <= _MAX_MEMBERS and all(_MEMBER.fullmatch(member) for member in members)
    return state if is_valid and len(state) <= _MAX_STATE else ""


def _random_id(size: int) -> str:
    """Random lower-case hexadecimal digits for `size` bytes. All zeros are invalid (§3.2.2.3)."""
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"
