"""A process that has imported the command line of a service, and forks for each start of a command.

Imports are most of what a start costs, and a test run has hundreds of starts. What is forked is a process like any
other, with its own arguments, environment, input and output.

`support.commands` runs it as `fork_server.py MODULE FD`. Each message on the socket FD starts one command: JSON with
its `arguments` and `variables` (the whole environment), and four file descriptors: standard input, output and errors,
and a socket. On that socket the server sends the process id, and the exit code when the command has ended. The server
ends when FD is closed, and kills the commands that still run.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from service_kit.http_client import trusted_authorities

# Which libraries import when they are first used.
_IMPORTED_LATER = (
    "anyio._backends._asyncio",
    "httpcore",
    "sqlalchemy.dialects.mysql.asyncmy",
    "uvicorn.protocols.websockets.auto",
)
LARGEST_REQUEST = 1024 * 1024
_STANDARD = (0, 1, 2)


def main() -> None:
    module, descriptor = sys.argv[1:]
    run_command = importlib.import_module(module).main
    # Which the command imports when it needs them.
    import_if_present(f"{module.partition('.')[0]}.commands")
    for each in _IMPORTED_LATER:
        importlib.import_module(each)
    # For the clients of all processes.
    trusted_authorities()
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"{module} has started threads while it was imported: a fork would lack them"
    # Ctrl-C in a terminal is for the tests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as requests:
        request = _serve(requests)
    if request is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["variables"])
    sys.argv = request["arguments"]
    sys.exit(run_command())


def import_if_present(module: str) -> None:
    """Raises the errors of the module itself, such as an import that is missing."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise


def _serve(requests: socket.socket) -> Any:
    """Returns in each forked process, with its request; and in the server, with None, when the socket is closed."""
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        try:
            while True:
                for ready in [key.fd for key, _ in selector.select()]:
                    if ready in running:
                        selector.unregister(ready)
                        os.close(ready)
                        _report_end(*running.pop(ready))
                        continue
                    message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, len(_STANDARD) + 1)
                    if not message:
                        for child, _ in running.values():
                            os.kill(child, signal.SIGKILL)
                        return None
                    with socket.socket(fileno=descriptors.pop()) as status:
                        child = _fork(descriptors)
                        if not child:
                            return json.loads(message)
                        status.send(str(child).encode())
                        ended = os.pidfd_open(child)
                        running[ended] = child, status.dup()
                        selector.register(ended, selectors.EVENT_READ)
        finally:
            for ended, (_, status) in running.items():
                os.close(ended)
                status.close()


def _fork(standard: list[int]) -> int:
    """As `os.fork`. In the new process the descriptors are standard input, output and errors."""
    child = os.fork()
    for descriptor, number in zip(standard, _STANDARD, strict=True):
        if not child:
            os.dup2(descriptor, number)
        os.close(descriptor)
    return child


def _report_end(child: int, status: socket.socket) -> None:
    _, result = os.waitpid(child, 0)
    # The test may have ended before the command.
    with status, suppress(OSError):
        status.send(str(os.waitstatus_to_exitcode(result)).encode())


if __name__ == "__main__":
    main()
