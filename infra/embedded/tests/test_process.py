import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from embedded_stack import StackError
from embedded_stack.process import Command, ComponentProcess

pytestmark = pytest.mark.integration

# Two processes: one that ignores SIGTERM on request, and its child, whose memory takes a moment to free.
CHILD = """
import time
memory = b"x" * 400_000_000
print("ready", flush=True)
time.sleep(600)
"""
PROGRAM = f"""
import signal, subprocess, sys
if sys.argv[1] == "ignoring SIGTERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print("child", child.pid, flush=True)
child.wait()
"""


def started(state: Path, manner: str = "ending") -> tuple[ComponentProcess, psutil.Process]:
    process = ComponentProcess("example", state)
    process.start(Command([sys.executable, "-c", PROGRAM, manner], dict(os.environ)))
    wait_for(lambda: process.log_tail().split()[-1:] not in ([], ["child"]))
    return process, psutil.Process(int(process.log_tail().split()[-1]))


def wait_for(condition: Callable[[], bool], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_stop_ends_children(tmp_path: Path) -> None:
    process, child = started(tmp_path)
    process.stop(grace_seconds=5)
    assert process.running() is None
    assert has_ended(child)
    assert not process.expected


def test_stop_kills_a_process_that_ignores_sigterm(tmp_path: Path) -> None:
    process, child = started(tmp_path, "ignoring SIGTERM")
    process.stop(grace_seconds=0.2)
    assert process.running() is None
    assert has_ended(child)


BUSY = """
import hashlib, threading
def work():
    while True:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 20_000)
for _ in range(8):
    threading.Thread(target=work).start()
print("busy", flush=True)
"""


def nanoseconds_run(pid: int) -> int:
    """The processor time of its threads."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def test_paused_process_uses_no_processor_time(tmp_path: Path) -> None:
    process = ComponentProcess("example", tmp_path)
    process.start(Command([sys.executable, "-c", BUSY], dict(os.environ)))
    try:
        wait_for(lambda: process.log_tail() == "busy")
        running = process.running()
        assert running is not None
        for _ in range(20):
            process.pause()
            before = nanoseconds_run(running.pid)
            time.sleep(0.02)
            assert nanoseconds_run(running.pid) == before
            process.resume()
    finally:
        process.kill()


# A thread in vfork(2) waits for its child, and only SIGKILL reaches it.
STUCK = """
import ctypes, os, time
print("stuck", flush=True)
ctypes.CDLL(None).vfork()
time.sleep(600)
"""


def test_process_that_can_not_be_paused_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedded_stack.process._PAUSE_SECONDS", 0.2)
    process = ComponentProcess("example", tmp_path)
    process.start(Command([sys.executable, "-c", STUCK], dict(os.environ)))
    try:
        running = process.running()
        assert running is not None
        wait_for(lambda: running.status() == psutil.STATUS_DISK_SLEEP)
        with pytest.raises(StackError, match=r"example can't be paused"):
            process.pause()
        (child,) = running.children()
        wait_for(lambda: child.status() != psutil.STATUS_STOPPED)
    finally:
        process.kill()


def test_paused_process_resumes_and_can_be_stopped_while_paused(tmp_path: Path) -> None:
    process, _child = started(tmp_path)
    running = process.running()
    assert running is not None
    process.pause()
    wait_for(lambda: running.status() == psutil.STATUS_STOPPED)
    process.resume()
    wait_for(lambda: running.status() != psutil.STATUS_STOPPED)
    process.pause()
    process.stop(grace_seconds=5)
    assert process.running() is None


def test_process_killed_by_another_program_is_expected_but_not_running(tmp_path: Path) -> None:
    process, _child = started(tmp_path)
    pid = int(process.pid_file.read_text())
    os.killpg(pid, signal.SIGKILL)
    wait_for(lambda: process.running() is None)
    assert process.expected
    assert process.exit_reason() == "was ended by SIGKILL"


@pytest.mark.parametrize("then", ["start", "stop", "kill"])
@pytest.mark.parametrize("by", ["its parent", "another program, before its parent has noticed"])
def test_children_of_a_process_killed_by_another_program_are_ended(tmp_path: Path, by: str, then: str) -> None:
    """Otherwise nginx's workers would keep its port."""
    process, child = started(tmp_path)
    os.kill(int(process.pid_file.read_text()), signal.SIGKILL)
    actor = process if by == "its parent" else ComponentProcess("example", tmp_path)
    wait_for(lambda: actor.running() is None)
    assert not has_ended(child)
    match then:
        case "start":
            actor.end_orphans()
        case "stop":
            actor.stop(grace_seconds=5)
        case "kill":
            actor.kill()
    assert has_ended(child)
    assert process.running() is None


def test_second_program_finds_the_process_by_its_pid_file(tmp_path: Path) -> None:
    process, _child = started(tmp_path)
    other = ComponentProcess("example", tmp_path)
    found = other.running()
    assert found is not None
    other.kill()
    assert process.running() is None


# Its first thread ends and another one continues, as in a server with many threads that is being killed.
HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("headless", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_process_has_ended_when_its_last_thread_has(tmp_path: Path) -> None:
    """Until then it holds its ports and files, although its first thread is a zombie."""
    process = ComponentProcess("example", tmp_path)
    process.start(Command([sys.executable, "-c", HEADLESS], dict(os.environ)))
    leader = psutil.Process(int(process.pid_file.read_text()))
    wait_for(lambda: leader.status() == psutil.STATUS_ZOMBIE)
    assert process.running() == leader
    process.kill()
    assert process.running() is None


def test_other_process_with_a_reused_pid_is_not_touched(tmp_path: Path) -> None:
    """A pid file that is older than the process with this pid belongs to another process."""
    process = ComponentProcess("example", tmp_path)
    process.pid_file.parent.mkdir()
    process.pid_file.write_text(f"{os.getpid()}\n")
    long_ago = time.time() - 365 * 24 * 3600
    os.utime(process.pid_file, (long_ago, long_ago))
    assert process.running() is None
    process.kill()
    assert not process.expected
