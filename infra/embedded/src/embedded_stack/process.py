"""One component's process: started, found again, stopped, killed, paused. Its state is the pid file alone.

So that a second program (the command line, a test) can act on a stack that another one started.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MAX_LOG_BYTES = 20 * 1024 * 1024
_POLL_SECONDS = 0.05
_STANDSTILL_POLL_SECONDS = 0.001


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
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: Command) -> None:
        """Start it in a session of its own, so that the terminal's Ctrl-C goes to the supervisor alone."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log:
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
        """Was it started, and not stopped on purpose?"""
        return self.pid_file.exists()

    def running(self) -> psutil.Process | None:
        """The live process of the pid file, if it is still the same one."""
        process = self._leader()
        return None if process is None or _has_ended(process) else process

    def _leader(self) -> psutil.Process | None:
        """The process of the pid file, alive or a zombie, if it is still the same one.

        A process with this pid that is younger than the pid file is a stranger who got the number later.
        """
        if self._child is not None:
            self._child.poll()  # a child that has ended stays a zombie until its parent asks
        try:
            written = self.pid_file.stat().st_mtime
            process = psutil.Process(int(self.pid_file.read_text()))
            return None if process.create_time() > written + 1 else process
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def exit_reason(self) -> str:
        code = self._child.poll() if self._child else None
        if code is None:
            return "ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and after `grace_seconds` SIGKILL, to it and its children. A paused one is resumed first."""
        process = self.running()
        if process is not None:
            self._signal_group(process.pid, signal.SIGCONT)
            process.terminate()
            deadline = time.monotonic() + grace_seconds
            while self.running() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            self._signal_group(process.pid, signal.SIGKILL)
            self._wait_for_end()
        self.end_orphans()
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL at once, children included. The pid file goes too: this death is nobody's surprise."""
        process = self.running()
        if process is not None:
            self._signal_group(process.pid, signal.SIGKILL)
            self._wait_for_end()
        self.end_orphans()
        self.pid_file.unlink(missing_ok=True)

    def end_orphans(self) -> None:
        """Kill what a process that was killed alone has left behind, and wait until it is gone.

        Its workers would keep its port. They are the session of its pid, a number that is not given anew while the
        session lasts. A process that has that pid nevertheless is a stranger, whose session is not touched.
        """
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        leader = self._leader()
        if psutil.pid_exists(pid) if leader is None else not _has_ended(leader):
            return
        while orphans := _members(os.getsid, pid):
            for orphan in orphans:
                with contextlib.suppress(psutil.NoSuchProcess):
                    orphan.kill()
            time.sleep(_POLL_SECONDS)

    def pause(self) -> None:
        """Returns when it stands still. The signal only begins that: busy threads go on for milliseconds and answer."""
        if process := self.running():
            self._signal_group(process.pid, signal.SIGSTOP)
            while not all(map(_stands_still, _members(os.getpgid, process.pid))):
                time.sleep(_STANDSTILL_POLL_SECONDS)

    def resume(self) -> None:
        if process := self.running():
            self._signal_group(process.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - 64 * 1024))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _wait_for_end(self) -> None:
        while self.running():
            time.sleep(_POLL_SECONDS)
        if self._child is not None:
            self._child.wait()  # it is dead; nobody else would take note of it

    @staticmethod
    def _signal_group(leader: int, number: signal.Signals) -> None:
        # A component leads its group, so its pid is the group's id, also after it has ended.
        try:
            os.killpg(leader, number)
        except ProcessLookupError:
            return


def _has_ended(process: psutil.Process) -> bool:
    """A server's first thread may be dead, and a zombie, while the others still hold its ports."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def _stands_still(process: psutil.Process) -> bool:
    """Is each of its threads stopped, or gone?"""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # proc(5): the state follows the name, which is in brackets and may have some in it.
    return all(stat.rpartition(") ")[2][0] in "TtZX" for stat in stats)


def _members(kind: Callable[[int], int], pid: int) -> list[psutil.Process]:
    """The live processes of the session (`os.getsid`) or group (`os.getpgid`) that the process of this pid leads."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if kind(process.pid) == pid and not _has_ended(process):
                members.append(process)
    return members
