"""Runs a stack in the foreground: starts it, says what happens, stops it on SIGINT or SIGTERM."""

import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from embedded_stack.configuration import StackConfiguration
from embedded_stack.errors import StackError
from embedded_stack.journal import LogFollower, notable, stamped
from embedded_stack.stack import Stack

NEEDED_BYTES = 1024**3
_LOOK_SECONDS = 0.25
_SERVICES = ("registrar", "sync", "auth", "tweet")


class Supervisor:
    def __init__(self, configuration: StackConfiguration) -> None:
        self._configuration = configuration
        self._stack = Stack(configuration, progress=self._say)
        self._asked_to_stop = threading.Event()
        self._reported_dead: set[str] = set()

    def run(self) -> None:
        """Start, follow, stop. Raises `StackError` if the start fails; what had started is stopped again."""
        state = self._configuration.state
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with only_supervisor(state):
            free = shutil.disk_usage(state).free
            if free < NEEDED_BYTES:
                raise StackError(f"{state} has {free // 1024**2} MB left and the stack needs 1024 MB: make room.")
            self._stop_leftovers()
            try:
                self._start()
                (state / "run" / "ready").touch()
                self._follow()
            finally:
                (state / "run" / "ready").unlink(missing_ok=True)
                self._stack.stop()

    def _start(self) -> None:
        self._stack.fetch()
        failure: list[StackError | OSError] = []

        def start() -> None:
            try:
                self._stack.start()
            except (StackError, OSError) as error:
                failure.append(error)

        # In a thread, so that signals are heard by the main one meanwhile.
        starting = threading.Thread(target=start)
        starting.start()
        while starting.is_alive():
            starting.join(_LOOK_SECONDS)
        if failure and not self._asked_to_stop.is_set():
            raise failure[0]
        if not failure:
            self._say(tour(self._stack.addresses))

    def _follow(self) -> None:
        followers = {name: LogFollower(self._stack.processes[name].log_file) for name in _SERVICES}
        while not self._asked_to_stop.wait(_LOOK_SECONDS):
            for name, follower in followers.items():
                for line in follower.new_lines():
                    if text := notable(line):
                        self._say(stamped(name, text))
            self._report_deaths()

    def _report_deaths(self) -> None:
        for name, process in self._stack.processes.items():
            dead = process.expected and process.running() is None
            if dead and name not in self._reported_dead:
                self._reported_dead.add(name)
                self._say(stamped(name, f"DIED: it {process.exit_reason()}. The end of {process.log_file}:"))
                self._say("\n".join(f"    {line}" for line in process.log_tail().splitlines()))
                self._say(stamped(name, f"start it again with: make start NAME={name}"))
            elif not dead and name in self._reported_dead:
                self._reported_dead.discard(name)
                self._say(stamped(name, "is running again" if process.expected else "was stopped"))

    def _stop_leftovers(self) -> None:
        if any(process.running() for process in self._stack.processes.values()):
            self._say("Components of a supervisor that was killed are still running; stopping them first.")
            self._stack.stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop.set()
        self._stack.cancel()

    @staticmethod
    def _say(text: str) -> None:
        print(text, flush=True)


@contextmanager
def only_supervisor(state: Path) -> Iterator[None]:
    """Hold the state folder's lock, or raise `StackError` naming who holds it."""
    (state / "run").mkdir(parents=True, exist_ok=True)
    pid_file = supervisor_pid_file(state)
    with pid_file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"The stack in {state} is already running, supervised by process {pid_file.read_text().strip()}; "
                "`make down` stops it."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
        lock.truncate(0)


def supervisor_pid_file(state: Path) -> Path:
    return state / "run" / "supervisor.pid"


def supervisor_pid(state: Path) -> int | None:
    """The process that holds the lock, if there is one."""
    pid_file = supervisor_pid_file(state)
    if not pid_file.exists():
        return None
    with pid_file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0) or None
    return None


def tour(addresses: dict[str, str]) -> str:
    """What to print when all is up; the commands can be copied as they are."""
    gateway = addresses["GATEWAY_URL"]
    return f"""
ready

  {gateway}   the gateway; the services' documentation is at /api/auth/docs, /api/tweets/docs, /api/sync/docs
  {addresses["SYNC_URL"]}/v1/status   how far the sync is
  {addresses["MAIL_URL"]}   the mails that were sent
  .stack/env holds every address, with passwords; `make status` and `make logs` show what goes on

  In another terminal:

    json='Content-Type: application/json'
    curl -s {gateway}/api/auth/v1/register -H "$json" -d '{{"username":"ada","email":"ada@example.com","name":"Ada",
      "password":"correct horse battery","password_confirm":"correct horse battery"}}'
    TOKEN=$(curl -s {gateway}/api/auth/v1/login -H "$json" -d '{{"login":"ada","password":"correct horse battery"}}' |
      sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
    curl -s {gateway}/api/tweets/v1/tweets -H "$json" -H "Authorization: Bearer $TOKEN" -d '{{"text":"hello #tandem"}}'
    curl -s {gateway}/api/tweets/v1/tweets

  Ctrl-C stops everything; the data stays in .stack/data
"""
