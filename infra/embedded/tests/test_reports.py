"""A component that dies or does not become ready is reported with the reason."""

import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from embedded_stack import Stack, StackError
from embedded_stack.components.base import NotReadyError, responds_ok
from embedded_stack.configuration import REPOSITORY
from embedded_stack.process import Command
from embedded_stack.supervisor import Children, ProcessMonitor, ready_message

pytestmark = pytest.mark.integration

FULL = SimpleNamespace(free=5 * 1024**2)
ROOMY = SimpleNamespace(free=5 * 1024**3)


class NoChildren(Children):
    """Does not reap children, because those of this process belong to the tests."""

    def _reap(self) -> None:
        """Does nothing."""


class RecordingChildren(NoChildren):
    """Runs no command, and keeps what was to be run."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[str, ...]] = []

    def run(self, *arguments: str) -> int:
        self.commands.append(arguments)
        return len(self.commands)


def run_to_end(stack: Stack, name: str, program: str) -> None:
    """Run a program that ends by itself in place of the component."""
    process = stack.processes[name]
    process.start(Command([sys.executable, "-c", program], dict(os.environ)))
    deadline = time.monotonic() + 120
    while process.running() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("in_background", "stop", "others"),
    [(True, "make down stops everything", ["Ctrl-C", "another terminal"]), (False, "Ctrl-C (or ", ["Try it"])],
)
def test_message_of_a_ready_stack_has_the_time_and_the_way_to_stop_it(
    own_stack: Stack, in_background: bool, stop: str, others: list[str]
) -> None:
    message = ready_message(own_stack.configuration, own_stack.addresses, 53.4, in_background=in_background)
    assert "ready after 53 s\n" in message
    assert stop in message
    assert not any(other in message for other in others)


@pytest.mark.parametrize("command", ["start", "stop", "restart"])
def test_make_command_without_a_component_names_what_is_missing(command: str) -> None:
    arguments = ["make", "--no-print-directory", "--assume-old", "setup", command, "NAME="]
    done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: NAME is missing: make {command} NAME=sync\n")


def test_death_on_a_full_disk_is_reported_with_the_cause(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    run_to_end(own_stack, "mysql", "raise SystemExit(1)")
    monitor = ProcessMonitor(own_stack, NoChildren(), printed.append, restart=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: FULL)
    monitor.poll()
    assert any("the disk of" in line and "is full: free some space" in line for line in printed)
    # A full disk may not allow a new folder.
    assert not (own_stack.configuration.state / "data" / "mysql").exists()


def test_component_whose_disk_is_full_is_restarted_when_there_is_space(
    own_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    children, data = RecordingChildren(), own_stack.configuration.data("kafka")
    run_to_end(own_stack, "kafka", "raise SystemExit(1)")
    monitor = ProcessMonitor(own_stack, children, printed.append, restart=True)
    # A disk of its own below the state folder, whose disk has space.
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: FULL if folder == data else ROOMY)
    for _ in range(5):
        monitor.poll()
    assert [line for line in printed if f"the disk of {data} is full: free some space" in line] != []
    assert len([line for line in printed if f"waits for space on the disk of {data}" in line]) == 1
    assert children.commands == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: ROOMY)
    monitor.poll()
    assert children.commands == [("revive", "kafka")]


def test_component_that_waits_for_another_says_so(own_stack: Stack) -> None:
    printed: list[str] = []
    children = RecordingChildren()
    run_to_end(own_stack, "kafka", "raise SystemExit(1)")
    run_to_end(own_stack, "connect", "raise SystemExit(1)")
    monitor = ProcessMonitor(own_stack, children, printed.append, restart=True)
    deadline = time.monotonic() + 120
    while not any(line.endswith("waits for kafka") for line in printed):
        monitor.poll()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for _ in range(3):
        monitor.poll()
    assert len([line for line in printed if "waits for" in line]) == 1
    assert ("revive", "connect") not in children.commands


def test_death_is_reported_once_with_the_end_of_the_log(own_stack: Stack) -> None:
    printed: list[str] = []
    run_to_end(own_stack, "mysql", "print('the reason'); raise SystemExit(7)")
    monitor = ProcessMonitor(own_stack, NoChildren(), printed.append, restart=False)
    for _ in range(3):
        monitor.poll()
    assert len([line for line in printed if "DIED" in line]) == 1
    assert "    the reason" in printed
    assert "make start NAME=mysql" in printed[-1]


def test_component_stopped_on_purpose_is_not_reported_as_dead(own_stack: Stack) -> None:
    printed: list[str] = []
    run_to_end(own_stack, "mysql", "raise SystemExit(1)")
    own_stack.stop_one("mysql")
    ProcessMonitor(own_stack, NoChildren(), printed.append, restart=True).poll()
    assert printed == []


def test_component_that_another_program_starts_is_not_reported_as_dead(own_stack: Stack) -> None:
    printed: list[str] = []
    run_to_end(own_stack, "mysql", "raise SystemExit(1)")
    with own_stack.processes["mysql"].exclusive():
        ProcessMonitor(own_stack, NoChildren(), printed.append, restart=True).poll()
    assert printed == []


def test_failed_start_on_a_full_disk_names_the_cause(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        own_stack.components["mail"], "command", lambda: Command([sys.executable, "-c", "raise SystemExit(1)"])
    )
    monkeypatch.setattr(own_stack, "fetch", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: FULL)
    with pytest.raises(StackError, match=r"mail ended with exit code 1 while starting\. The disk of .* is full"):
        own_stack.start("mail")


def test_log_tail_starts_at_the_last_start_and_has_no_stack_frames(own_stack: Stack) -> None:
    run_to_end(own_stack, "kafka", "print('of an earlier start')")
    trace = ["java.lang.RuntimeException: the reason", *["\tat kafka.Kafka$.main(Kafka.scala:1)"] * 50, "\t... 12 more"]
    run_to_end(own_stack, "kafka", f"print({chr(10).join(trace)!r})")
    assert own_stack.processes["kafka"].log_tail() == "java.lang.RuntimeException: the reason"


def test_failed_readiness_names_the_failing_checks() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b'{"status": "not ready", "checks": {"mysql": "it does not answer", "mongodb": "ok"}}'
            self.send_response(503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        with pytest.raises(NotReadyError, match=r"readyz answers 503; mysql: it does not answer$"):
            responds_ok(f"http://127.0.0.1:{server.server_port}/readyz")
