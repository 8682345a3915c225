"""Commands of a service as processes, to their end."""

import asyncio
import os
import sys
from pathlib import Path

COMMANDS = Path(sys.executable).parent


async def run_command(
    service: str, *arguments: str, within: float, typed: str = "", **variables: str
) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that ends by itself within so many seconds.

    `typed` is its input; `variables` are its environment, beside the PATH.
    """
    process = await asyncio.create_subprocess_exec(
        str(COMMANDS / service),
        *arguments,
        env={"PATH": os.environ["PATH"], **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(typed.encode()), within)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()
