"""What a failed test shows of the logs of its stacks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SUPPORT = Path(__file__).parents[1]
TESTS = """
from pathlib import Path
import pytest
from embedded_stack import Stack, StackConfiguration

@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "auth.log").write_text('{"level": "error", "event": "before the test"}\\n')
    return folder

@pytest.fixture
def stack(tmp_path, logs):
    return Stack(StackConfiguration(state_dir=tmp_path))

def test_fails(stack, logs, tmp_path):
    with (logs / "auth.log").open("a") as log:
        log.write('{"level": "info", "event": "request"}\\n{"level": "warning", "event": "no connection"}\\n')
    (logs / "connect.log").write_text("2026-01-01 INFO started (A)\\n2026-01-01 ERROR no such topic (B)\\n")
    (logs / "mail.log").write_text("listening\\n")
    (logs / "sync.log").write_text("the last words\\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sync.pid").write_text("4194304\\n")
    assert not "as wanted"

def test_passes(stack, logs):
    (logs / "tweet.log").write_text("ERROR not shown\\n")
"""


def test_failed_test_shows_what_its_stack_complained_of(tmp_path: Path) -> None:
    (tmp_path / "test_parts.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "support.failure_logs", "-W", "ignore", "--basetemp", "stack"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout
    _, *parts = re.split(r"^-+ (\w+) of the stack in .* -+$", done.stdout, flags=re.MULTILINE)
    sections = {name: text.strip().splitlines() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    assert sections["auth"][0] == '{"level": "warning", "event": "no connection"}'
    assert sections["connect"][0] == "2026-01-01 ERROR no such topic (B)"
    assert sections["sync"][:2] == ["It does not run: it ended. The end of its log:", "the last words"]
    assert sections.keys() == {"auth", "connect", "sync"}
