"""Password hashes: argon2id by passlib, in a bounded pool of threads.

Parameters: OWASP Password Storage Cheat Sheet, m=19456 KiB, t=2, p=1; about 30 ms of one core, which is why it
must not run in the event loop, and why more threads than cores would only queue inside the CPU.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.hash import argon2

MIN_LENGTH = 8
MAX_LENGTH = 128

ResultT = TypeVar("ResultT")


class PasswordHasher:
    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._argon2 = argon2.using(type="ID", memory_cost=19456, rounds=2, parallelism=1)
        # What an unknown user's password is compared with, so that it takes as long as a known one's.
        self._nobodys_hash: str = self._argon2.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._argon2.hash(password))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Is this the password? With no hash to compare it with, False after the same time."""
        same = await self._run(lambda: self._argon2.verify(password, password_hash or self._nobodys_hash))
        return same and password_hash is not None

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
