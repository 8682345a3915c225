"""W3C Trace Context, level 1 (w3.org/TR/trace-context-1): one id for what a request causes in every service.

A request is a span of its own in the trace of who sent it, or the first of a new trace. Log lines carry both ids, calls
of other services the headers. Nothing is collected: the trace is what the logs of all services have under its id.
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
# Of `tracestate`: key=value, as much of it as must be passed on (§3.3.1.5), and no more members than there may be.
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MAX_STATE, _MAX_MEMBERS = 512, 32


class TraceContext(NamedTuple):
    """`span_id` is of the request that this process answers, `state` the `tracestate` that came with it, or empty."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def traceparent(self) -> str:
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{self.flags:02x}"


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def current_trace() -> TraceContext | None:
    """None outside of a request."""
    return _current.get()


def begin_span(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext:
    """Continue the trace that an ASGI request's headers name, else begin one, and remember it for this task."""
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
    """An httpx event hook: a call that a request of ours makes belongs to its trace."""
    if trace := _current.get():
        request.headers["traceparent"] = trace.traceparent
        if trace.state:
            request.headers["tracestate"] = trace.state


def _continued(parents: Sequence[str], states: Sequence[str]) -> TraceContext | None:
    """None if there is not exactly one valid `traceparent`; then `tracestate` means nothing either (§4)."""
    match = _TRACEPARENT.fullmatch(parents[0].strip(" \t")) if len(parents) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    # A later version may have more fields behind these four, and is passed on as the one that we know (§3.2.4).
    if version == _NO_VERSION or (version == _FIRST_VERSION and more):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return TraceContext(trace_id, _random_id(8), int(flags, 16) & _SAMPLED, _passed_on(states) if states else "")


def _passed_on(states: Sequence[str]) -> str:
    """All `tracestate` headers as one, or nothing if that is malformed or too long."""
    members = [member.strip(" \t") for state in states for member in state.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    state = ",".join(members)
    is_sound = len(keys) == len(members) <= _MAX_MEMBERS and all(_MEMBER.fullmatch(member) for member in members)
    return state if is_sound and len(state) <= _MAX_STATE else ""


def _random_id(size: int) -> str:
    """Never all zeros, which means that there is none."""
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"
