"""A start after MySQL was killed."""

import os
import tempfile
from pathlib import Path

from embedded_stack import Stack


def test_killed_mysql_starts_although_another_process_has_its_old_pid(stack: Stack, mysql_root_url: str) -> None:
    stack.kill("mysql")
    try:
        port = stack.configuration.port("mysql")
        lock = Path(tempfile.gettempdir()) / f"tandem-mysql-{port}.sock.lock"
        assert lock.exists()
        lock.write_text(f"{os.getppid()}\n")
    finally:
        stack.start("mysql")
    assert stack.is_running("mysql")
