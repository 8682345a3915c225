"""A supervisor that ends kills the commands that it runs."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.integration

# In a process of its own: it takes the exit codes of all its children.
PROGRAM = """
import os, signal
from embedded_stack.supervisor import Children
children = Children()
pid = children.run("logs")
os.kill(pid, signal.SIGSTOP)
os.waitid(os.P_PID, pid, os.WSTOPPED)
children.end(within=0.2)
print(pid, children.exit_code(pid))
"""


def test_command_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """A stopped process receives only SIGKILL."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"TANDEM_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    pid, code = done.stdout.split()[-2:]
    assert code == "-9"
    assert not psutil.pid_exists(int(pid))
