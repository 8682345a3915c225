"""The trace of a request (W3C Trace Context), in its log lines and calls."""

import asyncio
import contextvars
import json
import logging
import re
from collections.abc import Sequence

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service_kit.http_client import internal_client
from service_kit.trace_context import TraceContext, begin_span, current_trace
from support.logs import configured_logging

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"
Headers = Sequence[tuple[bytes, bytes]]


def begun(headers: Headers) -> TraceContext:
    """In a context of its own, as a request is."""
    return contextvars.Context().run(begin_span, headers)


def parent(value: str) -> tuple[bytes, bytes]:
    return b"traceparent", value.encode("latin-1")


def state(value: str) -> tuple[bytes, bytes]:
    return b"tracestate", value.encode("latin-1")


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (VALID, 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        # Flags that have no meaning yet are not passed on.
        (f"00-{TRACE}-{PARENT}-ff", 1),
        (f"00-{TRACE}-{PARENT}-fe", 0),
        # Later versions, as far as this one knows them.
        (f"01-{TRACE}-{PARENT}-01", 1),
        (f"fe-{TRACE}-{PARENT}-01-whatever-comes", 1),
        (f"cc-{TRACE}-{PARENT}-01-", 1),
    ],
)
def test_request_is_a_span_of_the_callers_trace(value: str, flags: int) -> None:
    trace = begun([(b"host", b"x"), parent(value)])
    assert (trace.trace_id, trace.flags) == (TRACE, flags)
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span_id)
    assert trace.span_id != PARENT
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-0{flags}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        VALID.upper(),
        VALID[:-1],
        VALID + "0",
        VALID + "-",
        VALID + "-more",
        VALID.replace("-", "_"),
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-0x",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01.more",
        f"00-{TRACE}-{PARENT}-01\x0b",
    ],
)
def test_invalid_parent_starts_a_new_trace_without_state(value: str) -> None:
    trace = begun([parent(value), state("vendor=1")])
    assert trace.trace_id != TRACE
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace.traceparent)
    assert trace.state == ""


def test_no_parent_and_two_parents_start_a_new_trace() -> None:
    assert begun([]).trace_id != begun([]).trace_id
    assert begun([parent(VALID), parent(VALID)]).trace_id != TRACE
    assert begun([state("vendor=1")]).state == ""


@given(st.text(st.characters(codec="latin-1"), max_size=80))
def test_propagated_headers_are_always_valid(value: str) -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", begun([parent(value), state(value)]).traceparent)


@pytest.mark.parametrize(
    ("states", "passed_on"),
    [
        (["congo=t61rcWkgMzE"], "congo=t61rcWkgMzE"),
        (["a=1 , b=2", "c=3"], "a=1,b=2,c=3"),
        (["fw529a3039@dt=FfffffeFffff;x"], "fw529a3039@dt=FfffffeFffff;x"),
        (["a=1,,b=2,"], "a=1,b=2"),
        ([",".join(f"k{n}={n}" for n in range(32))], ",".join(f"k{n}={n}" for n in range(32))),
        ([",".join(f"k{n}={n}" for n in range(33))], ""),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a"], ""),
        (["a=ü"], ""),
        (["a=b=c"], ""),
        ([f"a={'x' * 256},b={'x' * 256}"], ""),
    ],
)
def test_valid_state_is_propagated(states: Sequence[str], passed_on: str) -> None:
    assert begun([parent(VALID), *map(state, states)]).state == passed_on


async def call() -> httpx.Request:
    """What `internal_client` would send."""
    async with internal_client() as client:
        sent = client.build_request("GET", "http://service.example/")
        for hook in client.event_hooks["request"]:
            await hook(sent)
        return sent


async def test_calls_belong_to_the_trace_of_the_request() -> None:
    async def answer() -> tuple[TraceContext, httpx.Request]:
        return begin_span([parent(VALID), state("vendor=1")]), await call()

    # A task has a context of its own, as a request has.
    trace, sent = await asyncio.create_task(answer())
    assert sent.headers["traceparent"] == trace.traceparent
    assert sent.headers["tracestate"] == "vendor=1"


async def test_calls_outside_of_a_request_have_no_trace() -> None:
    assert current_trace() is None
    assert "traceparent" not in (await call()).headers


def test_log_lines_name_trace_and_span(capsys: pytest.CaptureFixture[str]) -> None:
    def answer() -> TraceContext:
        trace = begin_span([parent(VALID)])
        structlog.get_logger("x").info("happened")
        logging.getLogger("library").warning("happened too")
        return trace

    with configured_logging():
        trace = contextvars.Context().run(answer)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [(TRACE, trace.span_id)] * 2
