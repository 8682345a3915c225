"""The process of a component: start, find, stop, kill, pause. Its only state is the pid file.

Therefore a second program (the command line, a test) can control a stack that another one started. A lock file for each
component serialises programs that start or end it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from embedded_stack.errors import StackError

MAX_LOG_BYTES = 20 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
# Lines of a Java stack trace. There can be more of them than a tail has lines, which would hide the exception itself.
_STACK_FRAME = re.compile(r"\s+(at [\w.$/<>@-]+\(.*|\.\.\. \d+ (more|common frames omitted))$")
_COMPONENT_LOG = re.compile(r"(?P<file>/.+/log/(?P<component>[a-z]+(-\d)?)\.log)(\.1)?(?P<removed> \(deleted\))?")
_POLL_SECONDS = 0.05
_PAUSE_POLL_SECONDS = 0.001
_PAUSE_SECONDS = 10


@dataclass(frozen=True)
class Command:
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


class ComponentProcess:
    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        self.pid_file = state / "run" / f"{name}.pid"
        self.log_file = state / "log" / f"{name}.log"
        self._set_up_file = state / "run" / f"{name}.set-up"
        self._lock_file = state / "run" / f"{name}.lock"
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the component's lock: only one program at a time starts or ends it. Not reentrant."""
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def is_locked(self) -> bool:
        """Is a program starting or ending it?"""
        try:
            with self._lock_file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def start(self, command: Command) -> None:
        """Start it in a session of its own, so that only the supervisor gets the terminal's Ctrl-C.

        The caller holds the lock (`exclusive`) if other programs may start it, too.
        """
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                list(command.argv),
                env=dict(command.environment),
                cwd=command.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{self._child.pid}\n")

    @property
    def expected(self) -> bool:
        """Should it run? It was started and not stopped on purpose."""
        return self.pid_file.exists()

    @property
    def pid(self) -> int | None:
        """The number in the pid file."""
        try:
            return int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def running(self) -> psutil.Process | None:
        """The live process of the pid file. None if the pid belongs to a different process now."""
        process = self._leader()
        return None if process is None or has_ended(process) else process

    def _leader(self) -> psutil.Process | None:
        """The process of the pid file, alive or a zombie.

        A process younger than the pid file is a different one, which got the same pid later.
        """
        if self._child is not None:
            self._child.poll()  # a child that has ended stays a zombie until its parent reaps it
        try:
            written = self.pid_file.stat().st_mtime
            process = psutil.Process(int(self.pid_file.read_text()))
            return None if process.create_time() > written + 1 else process
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def is_set_up(self, contents: bytes) -> bool:
        """Was `record_set_up` called for the current process with these contents?"""
        running = self.running()
        try:
            return running is not None and self._set_up_file.read_text() == _set_up(running, contents)
        except FileNotFoundError:
            return False

    def record_set_up(self, process: psutil.Process, contents: bytes) -> None:
        """Record that the set-up of this process from these contents is complete."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._set_up_file.write_text(_set_up(process, contents))

    def exit_reason(self, code: int | None = None) -> str:
        """How it ended. The exit code is the caller's, or that of a child; it may be unknown."""
        if code is None and self._child is not None:
            code = self._child.poll()
        if code is None:
            return "ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM, and after `grace_seconds` SIGKILL, to it and its children. A paused process is resumed first.

        Processes without a pid file are stopped, too.
        """
        with self.exclusive():
            leader = self.running()
            stopped = [leader] if leader is not None else self.writers()
            for process in stopped:
                self._signal_group(process.pid, signal.SIGCONT)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            deadline = time.monotonic() + grace_seconds
            while not all(map(self._is_over, stopped)) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            for process in stopped:
                self._signal_group(process.pid, signal.SIGKILL)
            self._wait_for_end()
            self.end_orphans()
            self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill it with its children. The pid file is removed, so a supervisor does not restart it."""
        with self.exclusive():
            process = self.running()
            if process is not None:
                self._signal_group(process.pid, signal.SIGKILL)
                self._wait_for_end()
            self.end_orphans()
            self.pid_file.unlink(missing_ok=True)

    def end_orphans(self) -> None:
        """Kill the remaining children of a process that has ended. Does nothing while it runs.

        They would keep its port. They are the processes that write to its log, and those of its session. A pid is not
        reused while its session exists: if another process has the pid, the session is a different one and is not
        touched.
        """
        if self.running() is not None:
            return
        while orphans := [*self._session(), *self.writers()]:
            for orphan in orphans:
                with contextlib.suppress(psutil.NoSuchProcess):
                    orphan.kill()
            time.sleep(_POLL_SECONDS)

    def writers(self, *, only_of_removed_log: bool = False) -> list[psutil.Process]:
        """The live processes whose output is this component's log, also if that file was removed.

        This identifies the processes of this stack without pid files: children inherit the output, and no other program
        has it.
        """
        return [
            process
            for process in psutil.process_iter()
            if (output := output_of(process.pid)) is not None
            and output.log_file.parent == self.log_file.parent
            and output.component == self.name
            and (output.is_removed or not only_of_removed_log)
            and not has_ended(process)
        ]

    def _session(self) -> list[psutil.Process]:
        """The live processes of the session whose leader, the process of the pid file, has ended."""
        pid = self.pid
        if pid is None or (self._leader() is None and psutil.pid_exists(pid)):
            return []
        return _members(os.getsid, pid)

    def pause(self) -> None:
        """Pause it, and return when all its threads have stopped. Busy threads take some milliseconds.

        Raises `StackError`, with the process resumed, if a thread does not stop, for example because it waits for a
        disk.
        """
        if process := self.running():
            self._signal_group(process.pid, signal.SIGSTOP)
            deadline = time.monotonic() + _PAUSE_SECONDS
            while not all(map(_is_paused, _members(os.getpgid, process.pid))):
                if time.monotonic() > deadline:
                    self.resume()
                    raise StackError(
                        f"{self.name} can't be paused: one of its threads has not stopped within {_PAUSE_SECONDS} s. "
                        "It is running."
                    )
                time.sleep(_PAUSE_POLL_SECONDS)

    def resume(self) -> None:
        if process := self.running():
            self._signal_group(process.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log without Java's stack frames, at most since the last `start` of this object."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(max(0, min(self._log_start, self._log_size()), self._log_size() - _TAIL_BYTES))
            written = log.read().decode(errors="replace").splitlines()
        return "\n".join([line for line in written if not _STACK_FRAME.match(line)][-lines:])

    def _log_size(self) -> int:
        return self.log_file.stat().st_size

    def _wait_for_end(self) -> None:
        while self.running():
            time.sleep(_POLL_SECONDS)
        if self._child is not None:
            self._child.wait()  # reaps the zombie

    def _is_over(self, process: psutil.Process) -> bool:
        if self._child is not None:
            self._child.poll()
        return has_ended(process)

    @staticmethod
    def _signal_group(leader: int, number: signal.Signals) -> None:
        # A component is the leader of its group, so its pid is the group's id, also after its end.
        try:
            os.killpg(leader, number)
        except ProcessLookupError:
            return


@dataclass(frozen=True)
class Output:
    """The log of a stack's component, to which a process writes."""

    log_file: Path
    component: str
    is_removed: bool

    @property
    def state(self) -> Path:
        return self.log_file.parent.parent


def _set_up(process: psutil.Process, contents: bytes) -> str:
    return f"{process.pid} {process.create_time()} {hashlib.sha256(contents).hexdigest()}\n"


def output_of(pid: int) -> Output | None:
    """The component's log that is this process's standard output or error, else None.

    None also for processes of other users and containers, which can't be inspected.
    """
    for descriptor in (1, 2):
        try:
            target = str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
            if Path(f"/proc/{pid}/ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink():
                return None
        except OSError:
            continue
        if found := _COMPONENT_LOG.fullmatch(target):
            return Output(Path(found["file"]), found["component"], found["removed"] is not None)
    return None


def has_ended(process: psutil.Process) -> bool:
    """Has the whole process ended? A zombie may be just its first thread, while others still hold its ports."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def _is_paused(process: psutil.Process) -> bool:
    """Is each of its threads stopped or ended?"""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # proc(5): the state follows the name, which is in brackets and can contain brackets.
    return all(stat.rpartition(") ")[2][0] in "TtZX" for stat in stats)


def _members(kind: Callable[[int], int], pid: int) -> list[psutil.Process]:
    """The live processes of the session (`os.getsid`) or group (`os.getpgid`) with this id."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if kind(process.pid) == pid and not has_ended(process):
                members.append(process)
    return members
