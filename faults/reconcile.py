"""`sync-service reconcile --repair`, as an operator runs it after a gap in the change events."""

import asyncio

from embedded_stack.components.services import script
from faults.system import System


class ReconcileFailed(Exception):  # noqa: N818 - a state of the system
    """The command failed; the message has its output."""


async def reconcile(system: System) -> str:
    """Compare and repair. Return the output. Raises `ReconcileFailed`."""
    process = await asyncio.create_subprocess_exec(
        script("sync-service"),
        *("reconcile", "--repair", "--max-repairs", "1000000"),
        env=dict(system.stack.components["sync"].command().environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode not in _SUCCESS:
        raise ReconcileFailed(f"exit code {process.returncode}: {text[-2000:]}")
    return text


# 0: no differences, 1: all differences were repaired.
_SUCCESS = (0, 1)
