"""Commands of a service as processes.

They are forked from a process that has imported the service (`support.fork_server`), one for each test process.
"""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

COMMANDS = Path(sys.executable).parent
_FORK_SERVER = Path(__file__).with_name("fork_server.py")
_MESSAGE_BYTES = 16
ENDS_WITHIN_SECONDS = 180


class ServiceCommand:
    """A command that was started. `returncode` is as that of `subprocess.Popen`."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self._status = status
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(status, self._note_end)

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def _note_end(self) -> None:
        self._loop.remove_reader(self._status)
        with self._status:
            code = self._status.recv(_MESSAGE_BYTES)
        if code:
            self._ended.set_result(int(code))
        else:
            self._ended.set_exception(EOFError("the fork server has ended"))


async def start_command(
    service: str,
    *arguments: str,
    variables: Mapping[str, str],
    typed: str = "",
    output: IO[bytes],
    errors: IO[bytes],
) -> ServiceCommand:
    """Returns as soon as it runs. `typed` is its input; `variables` are its whole environment."""
    request = {"arguments": [str(COMMANDS / service), *arguments], "variables": variables}
    status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    status.setblocking(False)
    with theirs, tempfile.TemporaryFile() as stdin:
        stdin.write(typed.encode())
        stdin.seek(0)
        descriptors = [each.fileno() for each in (stdin, output, errors, theirs)]
        socket.send_fds(_fork_server(service), [json.dumps(request).encode()], descriptors)
    pid = await asyncio.get_running_loop().sock_recv(status, _MESSAGE_BYTES)
    assert pid, f"the fork server of {service} has ended"
    return ServiceCommand(int(pid), status)


@cache
def _fork_server(service: str) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            # -P: modules beside it must not hide others.
            [sys.executable, "-P", str(_FORK_SERVER), f"{service.replace('-', '_')}.cli", str(theirs.fileno())],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


async def run_command(service: str, *arguments: str, typed: str = "", **variables: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that ends by itself, within `ENDS_WITHIN_SECONDS`.

    `typed` is its input; `variables` are its environment, beside the PATH.
    """
    environment = {"PATH": os.environ["PATH"], **variables}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = await start_command(
            service, *arguments, variables=environment, typed=typed, output=output, errors=errors
        )
        try:
            code = await asyncio.wait_for(process.wait(), ENDS_WITHIN_SECONDS)
        except BaseException:
            process.send_signal(signal.SIGKILL)
            raise
        output.seek(0)
        errors.seek(0)
        return code, output.read().decode(), errors.read().decode()
