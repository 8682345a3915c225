"""`embedded-stack`: the command line behind `make run`, `up`, `down`, `status`, `logs` and `start`."""

import argparse
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
from pydantic import ValidationError

from embedded_stack.configuration import StackConfiguration
from embedded_stack.errors import StackError
from embedded_stack.journal import LogFollower
from embedded_stack.stack import Stack
from embedded_stack.supervisor import Supervisor, supervisor_pid

_LOOK_SECONDS = 0.2
_STOP_SECONDS = 180


def main() -> None:
    try:
        sys.exit(_run(_arguments()))
    except StackError as error:
        sys.exit(f"error: {error}")
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        sys.exit(f"error: a setting is not valid: {wrong}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        sys.exit(f"error: {error.strerror}: {error.filename or 'the state or cache folder'}")
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="embedded-stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="bring the components onto this machine")
    commands.add_parser("run", help="run the stack until Ctrl-C")
    commands.add_parser("up", help="run the stack in the background")
    commands.add_parser("down", help="stop the stack that runs in the background")
    commands.add_parser("status", help="what runs, where, since when")
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("name", nargs="*", help="components; all if none is given")
    for name, text in _ON_ONE.items():
        one = commands.add_parser(name, help=text[0])
        one.add_argument("name", help="component")
    return parser.parse_args()


_ON_ONE: dict[str, tuple[str, Callable[[Stack, str], None]]] = {
    "start": ("start one component, with what it depends on", Stack.start),
    "stop": ("stop one component", Stack.stop_one),
    "restart": ("stop one component and start it again", Stack.restart),
    "kill": ("kill one component with SIGKILL", Stack.kill),
    "pause": ("stop one component from running with SIGSTOP", Stack.pause),
    "resume": ("let a paused component go on", Stack.resume),
}


def _run(arguments: argparse.Namespace) -> int:
    configuration = StackConfiguration()
    match arguments.command:
        case "fetch":
            Stack(configuration).fetch()
        case "run":
            Supervisor(configuration).run()
        case "up":
            _up(configuration)
        case "down":
            _down(configuration)
        case "status":
            return _status(Stack(configuration))
        case "logs":
            _logs(Stack(configuration), arguments.name)
        case name:
            _ON_ONE[name][1](Stack(configuration, progress=print), arguments.name)
    return 0


def _up(configuration: StackConfiguration) -> None:
    """Start a supervisor of its own session, show its lines until it is ready or has ended."""
    state = configuration.state
    if pid := supervisor_pid(state):
        raise StackError(f"The stack in {state} is already running, supervised by process {pid}.")
    log_file = state / "log" / "supervisor.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    ready = state / "run" / "ready"
    ready.unlink(missing_ok=True)
    follower = LogFollower(log_file)
    with log_file.open("ab") as log:
        command = [sys.executable, "-m", "embedded_stack.cli", "run"]
        supervisor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    while True:
        ended, started = supervisor.poll() is not None, ready.exists()
        for line in follower.new_lines():
            print(line, flush=True)
        if ended:
            raise StackError(f"The stack did not start; see above, or {log_file}.")
        if started:
            return
        time.sleep(_LOOK_SECONDS)


def _down(configuration: StackConfiguration) -> None:
    state = configuration.state
    pid = supervisor_pid(state)
    if pid is None:
        # Its supervisor may have been killed; then the components are ours to stop.
        Stack(configuration, progress=print).stop()
        return
    follower = LogFollower(state / "log" / "supervisor.log")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while supervisor_pid(state):
        if time.monotonic() > deadline:
            raise StackError(f"The supervisor, process {pid}, has not stopped within {_STOP_SECONDS} s.")
        time.sleep(_LOOK_SECONDS)
    for line in follower.new_lines():
        print(line)


def _status(stack: Stack) -> int:
    """Print a line for each component. 0 if all run, 1 if one does not."""
    all_run = True
    for name, component in stack.components.items():
        if component.outside is not None:
            state, details = "outside", ""
        elif process := stack.processes[name].running():
            paused = process.status() == psutil.STATUS_STOPPED
            state = "paused" if paused else "running"
            memory = _resident_bytes(process) // 1024**2
            minutes = (time.time() - process.create_time()) / 60
            details = f"pid {process.pid:<8} {memory:>5} MB   up {minutes:6.1f} min   {component.address}"
            all_run = all_run and not paused
        else:
            state, details = ("dead", "see make logs") if stack.processes[name].expected else ("stopped", "")
            all_run = False
        print(f"{name:<10} {state:<8} {details}".rstrip())
    return 0 if all_run else 1


def _resident_bytes(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def _logs(stack: Stack, names: list[str]) -> None:
    """Print the end of each log, then what is added, until Ctrl-C."""
    for name in names:
        if name not in stack.processes:
            raise StackError(f"There is no component {name!r}; there are {', '.join(stack.processes)}.")
    shown = {name: process for name, process in stack.processes.items() if not names or name in names}
    for name, process in shown.items():
        _print_lines(name, process.log_tail().splitlines())
    followers = {name: LogFollower(process.log_file) for name, process in shown.items()}
    while True:
        for name, follower in followers.items():
            _print_lines(name, follower.new_lines())
        time.sleep(_LOOK_SECONDS)


def _print_lines(name: str, lines: list[str]) -> None:
    for line in lines:
        print(f"{name:<10}| {line}", flush=True)


if __name__ == "__main__":
    main()
