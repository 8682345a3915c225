"""The lock of a state folder: its supervisor holds it, and after that the process that stops the rest of the stack."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO

import psutil

from embedded_stack.configuration import StackConfiguration
from embedded_stack.errors import StackError

_UNKNOWN_OWNER_SECONDS = 10
_POLL_SECONDS = 0.05


class Phase(StrEnum):
    """The activity of the owner of a state folder."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Ownership:
    """A held lock of a state folder. A child that inherits `file` holds the lock, too."""

    def __init__(self, state: Path, file: IO[str]) -> None:
        self._state = state
        self.file = file
        self._write_pid()

    @property
    def is_intact(self) -> bool:
        """Does the locked state folder still exist? It may have been removed, and created again."""
        try:
            return os.path.samestat(_pid_file(self._state).stat(), os.fstat(self.file.fileno()))
        except FileNotFoundError:
            return False

    def enter(self, phase: Phase) -> None:
        """Publish the current phase."""
        if self.is_intact:
            _phase_file(self._state).write_text(phase)

    def release(self) -> None:
        """Release the lock."""
        if self.is_intact:
            _phase_file(self._state).unlink(missing_ok=True)
        self.file.truncate(0)
        self.file.close()

    def _write_pid(self) -> None:
        self.file.seek(0)
        self.file.truncate(0)
        self.file.write(f"{os.getpid()}\n")
        self.file.flush()


@contextmanager
def owned(configuration: StackConfiguration) -> Iterator[Ownership]:
    """Hold the state folder's lock. Raises `StackError`, which names the process that holds it."""
    state = configuration.state
    (state / "run").mkdir(parents=True, exist_ok=True)
    pid_file = _pid_file(state)
    with pid_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"The stack in {state} is already running, supervised by process {pid_file.read_text().strip()}; "
                f"`{configuration.command('make down')}` stops it."
            ) from None
        yield from _held(Ownership(state, file))


@contextmanager
def inherited(state: Path, descriptor: int) -> Iterator[Ownership]:
    """Take over the lock of a parent that has ended, from an inherited file descriptor."""
    with os.fdopen(descriptor, "a+") as file:
        yield from _held(Ownership(state, file))


def _held(ownership: Ownership) -> Iterator[Ownership]:
    try:
        yield ownership
    finally:
        ownership.release()


def owner(state: Path) -> int | None:
    """The pid of the process that holds the lock, or None.

    That process may have ended and left the lock to a child. Raises `StackError` if the holder has no pid in
    the file.
    """
    pid_file = _pid_file(state)
    deadline = time.monotonic() + _UNKNOWN_OWNER_SECONDS
    while pid_file.exists():
        with pid_file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if pid := lock.read().strip():
                    return int(pid)
            else:
                return None
        # The lock is being taken over or released.
        if time.monotonic() > deadline:
            raise StackError(f"{pid_file} is locked by a process that has not written its pid; try again.")
        time.sleep(_POLL_SECONDS)
    return None


def phase(state: Path) -> Phase:
    """The phase of the owner."""
    pid = owner(state)
    if not pid or not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
        return Phase.STOPPING  # the owner was killed, and its guard stops the stack
    try:
        return Phase(_phase_file(state).read_text())
    except (FileNotFoundError, ValueError):
        return Phase.STARTING


def _pid_file(state: Path) -> Path:
    return state / "run" / "supervisor.pid"


def _phase_file(state: Path) -> Path:
    return state / "run" / "supervisor.phase"
