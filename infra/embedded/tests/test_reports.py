"""What is said of a component that does not come up or dies: the reason, as far as it is known here."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedded_stack import Stack, StackConfiguration, StackError
from embedded_stack.components.base import NotReadyError, answers
from embedded_stack.configuration import reserved_port_offset
from embedded_stack.process import Command
from embedded_stack.supervisor import Children, Watch

pytestmark = pytest.mark.integration

FULL = SimpleNamespace(free=5 * 1024**2)


class NoChildren(Children):
    """The children of this process are of the tests."""

    def _reap(self) -> None:
        """Not here."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    with reserved_port_offset() as offset:
        own = Stack(StackConfiguration(state_dir=tmp_path, port_offset=offset))
        yield own
        own.stop()


def run_to_end(stack: Stack, name: str, program: str) -> None:
    """Have a program that ends by itself stand for the component."""
    process = stack.processes[name]
    process.start(Command([sys.executable, "-c", program], dict(os.environ)))
    deadline = time.monotonic() + 30
    while process.running() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_death_on_a_full_disk_says_so(own: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    run_to_end(own, "mysql", "raise SystemExit(1)")
    watch = Watch(own, NoChildren(), said.append, restart=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: FULL)
    watch.look()
    assert any("the disk of" in line and "is full: make room" in line for line in said)


def test_death_is_reported_once_with_the_end_of_the_log(own: Stack) -> None:
    said: list[str] = []
    run_to_end(own, "mysql", "print('the reason'); raise SystemExit(7)")
    watch = Watch(own, NoChildren(), said.append, restart=False)
    for _ in range(3):
        watch.look()
    assert len([line for line in said if "DIED" in line]) == 1
    assert "    the reason" in said
    assert "make start NAME=mysql" in said[-1]


def test_what_was_stopped_on_purpose_is_not_reported_as_dead(own: Stack) -> None:
    said: list[str] = []
    run_to_end(own, "mysql", "raise SystemExit(1)")
    own.stop_one("mysql")
    Watch(own, NoChildren(), said.append, restart=True).look()
    assert said == []


def test_what_another_program_is_starting_is_not_reported_as_dead(own: Stack) -> None:
    said: list[str] = []
    run_to_end(own, "mysql", "raise SystemExit(1)")
    with own.processes["mysql"].exclusive():
        Watch(own, NoChildren(), said.append, restart=True).look()
    assert said == []


def test_start_that_fails_on_a_full_disk_says_so(own: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        own.components["mail"], "command", lambda: Command([sys.executable, "-c", "raise SystemExit(1)"])
    )
    monkeypatch.setattr(own, "fetch", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: FULL)
    with pytest.raises(StackError, match=r"mail ended with exit code 1 while starting\. The disk of .* is full"):
        own.start("mail")


def test_log_tail_begins_with_the_last_start_and_has_no_stack_frames(own: Stack) -> None:
    run_to_end(own, "kafka", "print('of an earlier start')")
    trace = ["java.lang.RuntimeException: the reason", *["\tat kafka.Kafka$.main(Kafka.scala:1)"] * 50, "\t... 12 more"]
    run_to_end(own, "kafka", f"print({chr(10).join(trace)!r})")
    assert own.processes["kafka"].log_tail() == "java.lang.RuntimeException: the reason"


def test_readiness_that_fails_names_the_failing_checks() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b'{"status": "not ready", "checks": {"mysql": "it does not answer", "mongodb": "ok"}}'
            self.send_response(503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Not to the terminal."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        with pytest.raises(NotReadyError, match=r"readyz answers 503; mysql: it does not answer$"):
            answers(f"http://127.0.0.1:{server.server_port}/readyz")
