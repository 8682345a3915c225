"""What is marked as a unit test, and what a unit test must not do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SUPPORT = Path(__file__).parents[1]
TESTS = """
import os, socket, subprocess
import pytest

@pytest.fixture
def stack():
    pass

@pytest.fixture
def database(stack):
    pass

def test_pure():
    pass

def test_connects_to_its_own_machine():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass

def test_with_a_database(database):
    subprocess.run(["true"])

@pytest.mark.integration
def test_starts_programs():
    subprocess.run(["true"])

def test_starts_a_program_and_hides_it():
    try:
        subprocess.run(["true"])
    except OSError:
        pass

def test_connects_elsewhere():
    socket.socket().connect(("192.0.2.1", 80))

def test_finds_a_download():
    assert not os.path.exists(os.environ["TANDEM_CACHE_DIR"])
"""


def run(folder: Path, *selection: str) -> str:
    (folder / "test_parts.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  unit\n  integration\n")
    command = [sys.executable, "-m", "pytest", "-p", "support.unit_tests", "-q", "-rA", "-W", "ignore", *selection]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SUPPORT),
        "TANDEM_CACHE_DIR": str(folder),
        "COLUMNS": "200",
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def test_unit_test_that_starts_a_program_or_connects_elsewhere_fails(tmp_path: Path) -> None:
    output = run(tmp_path)
    assert "5 passed" in output
    for name, violation in {
        "test_starts_a_program_and_hides_it": "started a program (true)",
        "test_connects_elsewhere": "connected to 192.0.2.1",
    }.items():
        (line,) = (line for line in output.splitlines() if line.startswith(f"FAILED test_parts.py::{name} "))
        assert f"A unit test {violation}: mark it with @pytest.mark.integration" in line


def test_fixtures_and_markers_select_integration_tests(tmp_path: Path) -> None:
    output = run(tmp_path, "-m", "integration")
    assert "2 passed, 5 deselected" in output
    assert {"PASSED test_parts.py::test_with_a_database", "PASSED test_parts.py::test_starts_programs"} <= {
        *output.splitlines()
    }
