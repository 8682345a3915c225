"""`sync-service reconcile --repair`, as an operator runs it when the stream of events had a gap."""

import asyncio

from embedded_stack.components.services import script
from faults.system import System


class CannotReconcile(Exception):  # noqa: N818 - a state of the system
    """The command did not end well; the message is what it said."""


async def reconcile(system: System) -> str:
    """Compare and mend; what it said. Raises `CannotReconcile`."""
    process = await asyncio.create_subprocess_exec(
        script("sync-service"),
        *("reconcile", "--repair"),
        env=dict(system.stack.components["sync"].command().environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode not in _ENDS_WELL:
        raise CannotReconcile(f"exit code {process.returncode}: {text[-2000:]}")
    return text


# Nothing differed, or something did and was mended.
_ENDS_WELL = (0, 1)
