"""Sockets that a failed test leaves open fail no other test, and those of one that passes do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SUPPORT = Path(__file__).parents[1]
TESTS = """
import gc
import socket

def test_that_leaves_a_socket_open():
    left_open = socket.socket()
    cycle = [left_open]
    cycle.append(cycle)
    assert {passes}

def test_during_which_it_is_found():
    gc.collect()
"""


@pytest.mark.parametrize("passes", [False, True])
def test_open_socket_is_blamed_on_no_other_test_than_one_that_failed(tmp_path: Path, passes: bool) -> None:
    (tmp_path / "test_parts.py").write_text(TESTS.format(passes=passes))
    errors = ["-W", "error::ResourceWarning", "-W", "error::pytest.PytestUnraisableExceptionWarning"]
    command = [sys.executable, "-m", "pytest", "-p", "support.leaks", *errors, "-q"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    failed = "test_during_which_it_is_found" if passes else "test_that_leaves_a_socket_open"
    assert f"FAILED test_parts.py::{failed}" in done.stdout
