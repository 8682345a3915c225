"""`embedded-stack`: the command line behind `make run`, `up`, `down`, `status`, `logs` and `start`."""

import argparse
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

import psutil
from pydantic import ValidationError

from embedded_stack.configuration import StackConfiguration
from embedded_stack.errors import ReportedError, StackError, StartCancelledError
from embedded_stack.kernel import end_with_parent
from embedded_stack.log_lines import LogFollower
from embedded_stack.ownership import Phase, inherited, owned, owner, phase
from embedded_stack.stack import Stack
from embedded_stack.supervisor import Supervisor
from service_kit.settings import format_settings_error

_POLL_SECONDS = 0.2
_STOP_SECONDS = 180


def main() -> None:
    try:
        sys.exit(_run(_arguments()))
    except ReportedError:
        sys.exit(1)
    except StackError as error:
        sys.exit(f"error: {error}")
    except ValidationError as error:
        sys.exit(format_settings_error(error))
    except BrokenPipeError:
        # The output was closed. Without this Python would report an error when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        sys.exit(f"error: {error.strerror}: {error.filename or 'the state or cache folder'}")
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="embedded-stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("fetch", help="download the components")
    run = commands.add_parser("run", help="run the stack until Ctrl-C")
    up = commands.add_parser(
        "up", help="run the stack in the background; start the missing components of a running one"
    )
    for each in (run, up):
        each.add_argument("name", nargs="*", help="components, with their dependencies; all if none is given")
        each.add_argument(
            "--restart", choices=("yes", "no"), default="yes", help="restart components that die (default: yes)"
        )
    run.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    down = commands.add_parser("down", help="stop the stack that runs in the background")
    down.add_argument("--inherited-lock", type=int, help=argparse.SUPPRESS)
    commands.add_parser(
        "status", help="show the state, address and uptime of each component; exit code 1 unless all run"
    )
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("name", nargs="*", help="components; all if none is given")
    for name, text in _COMPONENT_COMMANDS.items():
        one = commands.add_parser(name, help=text[0])
        one.add_argument("name", help="component")
    # Only supervisors run these.
    commands.add_parser("start-all").add_argument("name", nargs="*")
    commands.add_parser("revive").add_argument("name")
    return parser.parse_args()


_COMPONENT_COMMANDS: dict[str, tuple[str, Callable[[Stack, str], None]]] = {
    "start": ("start one component, with its dependencies", Stack.start),
    "stop": ("stop one component", Stack.stop_one),
    "restart": ("restart one component", Stack.restart),
    "kill": ("kill one component with SIGKILL", Stack.kill),
    "pause": ("pause one component with SIGSTOP", Stack.pause),
    "resume": ("resume a paused component", Stack.resume),
}


def _run(arguments: argparse.Namespace) -> int:
    configuration = StackConfiguration()
    match arguments.command:
        case "fetch":
            Stack(configuration).fetch()
        case "run":
            supervisor = Supervisor(
                configuration,
                arguments.name,
                restart=arguments.restart == "yes",
                in_background=arguments.in_background,
            )
            supervisor.run()
        case "up":
            _up(configuration, arguments.name, arguments.restart)
        case "down":
            _down(configuration, arguments.inherited_lock)
        case "status":
            return _status(Stack(configuration))
        case "logs":
            _logs(Stack(configuration), arguments.name)
        case "start-all":
            return _as_child(configuration, lambda stack: stack.start(*arguments.name))
        case "revive":
            return _as_child(configuration, lambda stack: stack.revive(arguments.name))
        case name:
            stack = _cancellable(Stack(configuration, progress=_print))
            stack.require_same_ports()
            _COMPONENT_COMMANDS[name][1](stack, arguments.name)
    return 0


def _print(line: str) -> None:
    print(line, flush=True)


def _as_child(configuration: StackConfiguration, act: Callable[[Stack], None]) -> int:
    """Act as the child of a supervisor: end when it ends or sends SIGTERM. Return the exit code."""
    stack = _cancellable(Stack(configuration, progress=_print))
    end_with_parent(signal.SIGTERM)
    try:
        act(stack)
    except StartCancelledError:
        return 1
    return 0


def _cancellable(stack: Stack) -> Stack:
    """Let Ctrl-C cancel a start. Otherwise its threads would wait until all components are ready."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        stack.cancel()
        if stack.is_fetching:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, cancel)
    return stack


def _up(configuration: StackConfiguration, names: list[str], restart: str) -> None:
    """Start a supervisor in the background and show its output until it is ready or has ended.

    If a supervisor is running, start the missing components of its stack.
    """
    state = configuration.state
    log_file = state / "log" / "supervisor.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    follower = LogFollower(log_file)
    if owner(state) is not None:
        current = phase(state)
        if current is not Phase.READY:
            _print(f"The stack in {state} is {current}; waiting.")
        if _await_ready(configuration, follower):
            _start_missing(configuration, names)
            return
    with log_file.open("ab") as log:
        program = [sys.executable, "-m", "embedded_stack.cli"]
        command = [*program, "run", "--in-background", "--restart", restart, *names]
        supervisor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        while supervisor.poll() is None and not (owner(state) == supervisor.pid and phase(state) is Phase.READY):
            _show(follower)
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        down = configuration.command("make down")
        raise StackError(f"The stack is still starting in the background; `{down}` stops it.") from None
    _show(follower)
    if supervisor.poll() is not None:
        raise StackError(f"The stack did not start; see above, or {log_file}.")


def _await_ready(configuration: StackConfiguration, follower: LogFollower) -> bool:
    """Wait until the running supervisor's stack is ready. False if the supervisor ends instead."""
    while owner(configuration.state) is not None:
        if phase(configuration.state) is Phase.READY:
            return True
        _show(follower)
        time.sleep(_POLL_SECONDS)
    return False


def _start_missing(configuration: StackConfiguration, names: list[str]) -> None:
    """Start the missing ones of these components, or of all, in a running stack."""
    stack = _cancellable(Stack(configuration, progress=_print))
    stack.require_same_ports()
    if missing := stack.missing(*names):
        _print(f"The stack in {configuration.state} runs without {', '.join(missing)}; starting them.")
        stack.start(*missing)
    else:
        what = f": {' '.join(names)}" if names else f", and all of it: {stack.addresses['GATEWAY_URL']}"
        _print(f"The stack in {configuration.state} runs already{what}")


def _show(follower: LogFollower) -> None:
    for line in follower.new_lines():
        _print(line)


def _down(configuration: StackConfiguration, inherited_lock: int | None) -> None:
    state = configuration.state
    if inherited_lock is not None:
        # This is the guard of a supervisor that ended without stopping its stack.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with inherited(state, inherited_lock) as ownership:
            ownership.enter(Phase.STOPPING)
            _print("The supervisor has ended without stopping its stack; stopping it.")
            Stack(configuration, progress=_print).stop()
        return
    pid = owner(state)
    if pid is None:
        # The supervisor and its guard may have been killed.
        with owned(configuration) as ownership:
            ownership.enter(Phase.STOPPING)
            Stack(configuration, progress=_print).stop()
        return
    follower = LogFollower(state / "log" / "supervisor.log")
    if phase(state) is not Phase.STOPPING:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while owner(state) is not None:
        if time.monotonic() > deadline:
            raise StackError(f"The supervisor, process {pid}, has not stopped within {_STOP_SECONDS} s.")
        time.sleep(_POLL_SECONDS)
    _show(follower)


def _status(stack: Stack) -> int:
    """Print a line for each component. Return 0 if all run, else 1. Raises `StackError`."""
    stack.require_same_ports()
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
            is_dead = stack.processes[name].expected
            logs = stack.configuration.command(f"make logs NAME={name}")
            state, details = ("dead", f"see `{logs}`") if is_dead else ("stopped", "")
            all_run = False
        print(f"{name:<10} {state:<8} {details}".rstrip())
    return 0 if all_run else 1


def _resident_bytes(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def _logs(stack: Stack, names: list[str]) -> None:
    """Print the end of each log, then new lines until Ctrl-C."""
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
        time.sleep(_POLL_SECONDS)


def _print_lines(name: str, lines: list[str]) -> None:
    for line in lines:
        print(f"{name:<10}| {line}", flush=True)


if __name__ == "__main__":
    main()
