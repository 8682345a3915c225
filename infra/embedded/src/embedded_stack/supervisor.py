"""Runs a stack in the foreground: starts it, shows its events, restarts dead components, stops it on a signal.

Its own process stays small, because it runs as long as the stack: short-lived child processes start the components.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import psutil

from embedded_stack.configuration import StackConfiguration
from embedded_stack.disk_space import require_space
from embedded_stack.errors import ReportedError, StackError
from embedded_stack.kernel import adopt_orphans
from embedded_stack.log_lines import LogFollower, notable, stamped
from embedded_stack.ownership import Ownership, Phase, owned
from embedded_stack.process import ComponentProcess, has_ended
from embedded_stack.restarts import MAX_RESTARTS, RestartPolicy
from embedded_stack.stack import Progress, Stack

NEEDED_BYTES = 1024**3
_MONITOR_SECONDS = 0.5
_POLL_SECONDS = 0.05
# How long a command may take to end after SIGTERM, and again after SIGKILL.
_END_SECONDS = 30
_SERVICES = ("registrar", "sync", "auth", "tweet")


class Supervisor:
    """`names` are the components to start, with their dependencies. Without names all are started.

    `in_background` has no terminal: the message when the stack is ready names no key.
    """

    def __init__(
        self,
        configuration: StackConfiguration,
        names: Sequence[str] = (),
        *,
        restart: bool = True,
        in_background: bool = False,
    ) -> None:
        self._configuration = configuration
        self._names = names
        self._in_background = in_background
        self._state = configuration.state
        self._stack = Stack(configuration, progress=self._print)
        self._asked_to_stop = threading.Event()
        self._children = Children()
        self._monitor = ProcessMonitor(self._stack, self._children, self._print, restart=restart)

    def run(self) -> None:
        """Start the stack, show its events until a signal comes, stop it.

        Raises `StackError` if the start fails (started components are stopped again), or if the state folder is removed
        in the meantime (the processes are killed).
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with owned(self._configuration) as ownership:
            ownership.enter(Phase.STARTING)
            require_space(self._state, NEEDED_BYTES, "the stack", "set TANDEM_STATE_DIR to a folder on another disk")
            self._stop_leftovers()
            adopt_orphans()
            with guarded(self._configuration, ownership) as guard:
                try:
                    self._supervise(ownership)
                finally:
                    self._children.end()
                    if ownership.is_intact:
                        ownership.enter(Phase.STOPPING)
                        self._stack.stop()
                    else:
                        self._monitor.kill_all(spare=guard.pid)
                    guard.dismiss()

    def _supervise(self, ownership: Ownership) -> None:
        began = time.monotonic()
        if not self._start(ownership):
            return
        seconds = time.monotonic() - began
        ready = f"\nready: {' '.join(self._names)}\n"
        if not self._names:
            ready = ready_message(
                self._configuration, self._stack.addresses, seconds, in_background=self._in_background
            )
        # `up` prints the output until this phase, so the message comes first.
        self._print(ready)
        ownership.enter(Phase.READY)
        followers = {
            name: LogFollower(process.log_file) for name, process in self._stack.processes.items() if name in _SERVICES
        }
        while not self._asked_to_stop.wait(_MONITOR_SECONDS):
            self._require_intact(ownership)
            for name, follower in followers.items():
                for line in follower.new_lines():
                    if text := notable(line):
                        self._print(stamped(name, text))
            self._monitor.poll()

    def _start(self, ownership: Ownership) -> bool:
        """Start the components. False if a signal came in the meantime. Raises `StackError` if the start fails."""
        starter = self._children.run("start-all", *self._names)
        while (code := self._children.exit_code(starter)) is None:
            self._require_intact(ownership)
            if self._asked_to_stop.is_set():
                return False
            time.sleep(_POLL_SECONDS)
        if code != 0 and not self._asked_to_stop.is_set():
            raise ReportedError("The stack did not start.")
        return not self._asked_to_stop.is_set()

    def _require_intact(self, ownership: Ownership) -> None:
        if not ownership.is_intact:
            raise StackError(f"The state folder {self._state} was removed: the processes of its stack are killed.")

    def _stop_leftovers(self) -> None:
        if any(process.running() or process.writers() for process in self._stack.processes.values()):
            self._print(
                "Components are running without a supervisor (it was killed, or `make start` started them); "
                "stopping them first."
            )
            self._stack.stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop.set()

    def _print(self, text: str) -> None:
        try:
            print(text, flush=True)
        except OSError:
            # The terminal or the pipe was closed.
            self._asked_to_stop.set()


class Children:
    """Runs this program's own commands, and collects the exit codes of all children, adopted ones included."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._codes: dict[int, int] = {}

    def run(self, *arguments: str) -> int:
        """Start `embedded-stack ARGUMENTS` in a process group that Ctrl-C does not reach. Return its pid."""
        command = [sys.executable, "-m", "embedded_stack.cli", *arguments]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
        self._running[child.pid] = child
        return child.pid

    def exit_code(self, pid: int) -> int | None:
        """The exit code of a child that has ended, negative for a signal; it is returned once. None if it runs."""
        self._reap()
        return self._codes.pop(pid, None)

    def end(self, within: float = _END_SECONDS) -> None:
        """Send SIGTERM to the running commands and their children, and SIGKILL `within` seconds later.

        Returns when they have ended, at the latest `within` seconds after SIGKILL.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._reap()
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)
            deadline = time.monotonic() + within
            while self._running and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._codes[pid] = os.waitstatus_to_exitcode(status)
            if child := self._running.pop(pid, None):
                child.returncode = self._codes[pid]


@dataclass
class Death:
    """A component's process that died.

    `due` is when to restart it, `waits_for` what delays that, `restarter` the pid of the child that restarts it.
    """

    pid: int | None
    due: float | None = None
    waits_for: str | None = None
    restarter: int | None = None

    @property
    def is_being_restarted(self) -> bool:
        return self.due is not None or self.restarter is not None


class ProcessMonitor:
    """Reports components that die, and restarts them."""

    def __init__(self, stack: Stack, children: Children, print_line: Progress, *, restart: bool) -> None:
        self._stack = stack
        self._children = children
        self._print = print_line
        self._restart = restart
        self._policy = RestartPolicy()
        self._seen: dict[str, psutil.Process] = {}
        self._deaths: dict[str, Death] = {}

    def poll(self) -> None:
        """Check all components once. The supervisor calls this repeatedly."""
        for name, process in self._stack.processes.items():
            if self._stack.components[name].outside is not None:
                continue
            if running := process.running():
                self._seen[name] = running
                self._runs(name)
            elif not process.expected:
                if self._deaths.pop(name, None):
                    self._policy.forget(name)
                    self._print(stamped(name, "was stopped"))
            elif not process.is_locked:
                self._is_dead(name, process)

    def kill_all(self, spare: int) -> None:
        """Kill all processes of the stack: known ones, descendants, and writers to a log that was removed."""
        while alive := [process for process in self._known_processes() if process.pid != spare]:
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(_POLL_SECONDS)

    def _known_processes(self) -> list[psutil.Process]:
        processes = psutil.Process().children(recursive=True)
        for name, process in self._stack.processes.items():
            processes += process.writers(only_of_removed_log=True)
            if seen := self._seen.get(name):
                processes.append(seen)
        return [process for process in processes if not has_ended(process)]

    def _runs(self, name: str) -> None:
        death = self._deaths.get(name)
        if death is None:
            return
        if death.restarter is None:
            self._policy.forget(name)
            self._print(stamped(name, "is running again"))
        elif self._children.exit_code(death.restarter) is None:
            return  # not ready yet
        del self._deaths[name]

    def _is_dead(self, name: str, process: ComponentProcess) -> None:
        death = self._deaths.get(name)
        if death is None or death.pid != process.pid:
            self._report(name, process)
            self._deaths[name] = self._plan(name, process)
        elif death.restarter is not None:
            if self._children.exit_code(death.restarter) is not None:
                # The child has printed the error.
                self._deaths[name] = self._plan(name, process)
        elif death.due is not None and time.monotonic() >= death.due and not self._must_wait(name, death):
            death.due, death.restarter = None, self._children.run("revive", name)

    def _must_wait(self, name: str, death: Death) -> bool:
        """Would a start fail now? The reason is printed when it changes."""
        waits_for = self._missing(name)
        if waits_for not in (None, death.waits_for):
            self._print(stamped(name, f"waits for {waits_for}"))
        death.waits_for = waits_for
        return waits_for is not None

    def _missing(self, name: str) -> str | None:
        """What a start needs: space on the disk, and the dependencies that are being restarted."""
        if full := self._stack.full_folder(name):
            return f"space on the disk of {full}"
        depends_on = self._stack.components[name].depends_on
        restarting = [each for each in depends_on if each in self._deaths and self._deaths[each].is_being_restarted]
        return ", ".join(restarting) or None

    def _report(self, name: str, process: ComponentProcess) -> None:
        code = None if process.pid is None else self._children.exit_code(process.pid)
        self._print(stamped(name, f"DIED: it {process.exit_reason(code)}. The end of {process.log_file}:"))
        self._print("\n".join(f"    {line}" for line in process.log_tail().splitlines()))
        if full := self._stack.full_folder(name):
            self._print(stamped(name, f"the disk of {full} is full: free some space"))

    def _plan(self, name: str, process: ComponentProcess) -> Death:
        death = Death(process.pid)
        start = self._stack.configuration.command(f"make start NAME={name}")
        if not self._restart:
            self._print(stamped(name, f"start it again with: {start}"))
            return death
        if self._stack.full_folder(name):
            # It can't start before there is space, however often it is tried.
            death.due = time.monotonic()
            return death
        delay = self._policy.next_restart(name)
        if delay is None:
            limit = f"{MAX_RESTARTS} times within a minute"
            self._print(stamped(name, f"was started again {limit} and is left now; start it with: {start}"))
            return death
        count = f"{self._policy.recent(name)} of {MAX_RESTARTS} within a minute"
        self._print(stamped(name, f"is started again in {delay:g} s ({count})"))
        death.due = time.monotonic() + delay
        return death


@dataclass(frozen=True)
class Guard:
    """A process that stops the stack if its supervisor ends without stopping it, for example by SIGKILL."""

    pid: int
    _pipe: int

    def dismiss(self) -> None:
        """Let the guard end without any action: the stack is stopped."""
        with contextlib.suppress(BrokenPipeError):  # the guard was killed
            os.write(self._pipe, b"\n")


@contextmanager
def guarded(configuration: StackConfiguration, ownership: Ownership) -> Iterator[Guard]:
    """Run a guard. It shares the lock of the state folder, so that the next supervisor waits until it has finished.

    The guard is a shell that waits for a line from this process. If the pipe is closed without a line, the shell
    executes `down`.
    """
    lock = ownership.file.fileno()
    down = [sys.executable, "-m", "embedded_stack.cli", "down", "--inherited-lock", str(lock)]
    script = 'read -r _ || exec "$@"'
    log_file = configuration.state / "log" / "supervisor.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    with log_file.open("ab") as log:
        shell = subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", *down],
            stdin=reading,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )
    os.close(reading)
    try:
        yield Guard(shell.pid, writing)
    finally:
        os.close(writing)
        shell.wait()


def ready_message(
    configuration: StackConfiguration, addresses: dict[str, str], seconds: float, *, in_background: bool
) -> str:
    """The text to print when the stack is ready. Its commands can be copied."""
    gateway = addresses["GATEWAY_URL"]
    down = configuration.command("make down")
    if configuration.is_sync_only:
        return sync_only_message(configuration, gateway, seconds, f"{'' if in_background else 'Ctrl-C or '}{down}")
    here, stop = ("Try it", f"{down} stops") if in_background else ("In another terminal", f"Ctrl-C (or {down}) stops")
    return f"""
ready after {seconds:.0f} s

  {gateway}   the gateway; the services' documentation is at /api/auth/docs, /api/tweets/docs, /api/sync/docs
  {addresses["SYNC_URL"]}/v1/status   the state of the sync
  {addresses["MAIL_URL"]}   the mails that were sent
  {configuration.shown("env")} has every address, with passwords
  {configuration.command("make status")}   the state of each component
  {configuration.command("make logs")}   the logs

  {here}:

    json='Content-Type: application/json'
    curl -s {gateway}/api/auth/v1/register -H "$json" -d '{{"username":"ada","email":"ada@example.com","name":"Ada",
      "password":"correct horse battery","password_confirm":"correct horse battery"}}'
    TOKEN=$(curl -s {gateway}/api/auth/v1/login -H "$json" -d '{{"login":"ada","password":"correct horse battery"}}' |
      sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
    curl -s {gateway}/api/tweets/v1/tweets -H "$json" -H "Authorization: Bearer $TOKEN" -d '{{"text":"hello #tandem"}}'
    curl -s {gateway}/api/tweets/v1/tweets

  {stop} everything; the data stays in {configuration.shown("data")}
"""


def sync_only_message(configuration: StackConfiguration, gateway: str, seconds: float, down: str) -> str:
    """The same for a stack with the sync only."""
    return f"""
ready after {seconds:.0f} s

  {gateway}   the page of the sync, for SYNC_OPERATOR_TOKEN
  {configuration.shown("env")} has the token, and every address with passwords
  {configuration.shown("routes.yaml")}   the routes; add one:

    set -a; . {configuration.shown("env")}; set +a
    .venv/bin/sync-service routes add mysql:DATABASE.TABLE

  {configuration.command("make status")}   the state of each component
  {configuration.command("make logs")}   the logs
  {down} stops everything; the data stays in {configuration.shown("data")}
"""
