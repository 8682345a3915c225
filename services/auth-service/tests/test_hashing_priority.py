"""Passwords are hashed at any priority of the process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import asyncio, os
from auth_service.passwords.hashing import PasswordHasher
os.nice({niceness})
if os.geteuid() == 0:
    os.setuid(65534)  # root may raise a priority
print(asyncio.run(PasswordHasher(1, memory_kib=1024, rounds=1).hash("a long enough phrase")))
"""


@pytest.mark.parametrize("niceness", [0, 12])
def test_password_is_hashed_at_any_priority(niceness: int) -> None:
    program = PROGRAM.format(niceness=niceness)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("$argon2id$"), done.stderr
