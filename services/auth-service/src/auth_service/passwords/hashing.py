"""Password hashes: argon2id by passlib, in a bounded pool of threads.

Parameters: OWASP Password Storage Cheat Sheet, m=19456 KiB, t=2, p=1; about 30 ms of one core, which is why it
must not run in the event loop, and why more threads than cores would only queue inside the CPU.
"""

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.hash import argon2

from service_kit.problems import ServiceUnavailable

# Who would have to wait for more hashes than this (per thread; about ten seconds) is asked to come back instead.
MAX_QUEUED_PER_WORKER = 300

_NICENESS = 5

ResultT = TypeVar("ResultT")


class PasswordHasher:
    """Hashes under the parameters given, and verifies hashes of any. `memory_kib` is KiB for each thread."""

    def __init__(self, workers: int, *, memory_kib: int = 19456, rounds: int = 2, parallelism: int = 1) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2", initializer=_step_back)
        self._argon2 = argon2.using(type="ID", memory_cost=memory_kib, rounds=rounds, parallelism=parallelism)
        self._capacity = workers * MAX_QUEUED_PER_WORKER
        self.queued = 0
        # What an unknown user's password is compared with, so that it takes as long as a known one's.
        self._nobodys_hash: str = self._argon2.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Raises `ServiceUnavailable` if too many are waiting."""
        return await self._run(lambda: str(self._argon2.hash(_normalized(password))))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Is this the password? With no hash to compare it with, False after the same time.

        Raises `ServiceUnavailable` if too many are waiting.
        """
        against = password_hash or self._nobodys_hash
        same = await self._run(lambda: bool(self._argon2.verify(_normalized(password), against)))
        return same and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Was it made under other parameters than today's?"""
        return bool(self._argon2.needs_update(password_hash))

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        if self.queued >= self._capacity:
            raise ServiceUnavailable("Too many people are logging in at this moment.", retry_after_seconds=5)
        self.queued += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.queued -= 1

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _step_back() -> None:
    """Let the event loop go first: a probe must not wait behind a queue of hashes. (Linux gives threads priorities.)"""
    if hasattr(os, "setpriority"):
        thread = threading.get_native_id()
        # A process that runs at a lower priority already may not raise it.
        if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)


def _normalized(password: str) -> str:
    """RFC 8265 §4.2.2: the same password typed on another machine may come in another form of Unicode."""
    return unicodedata.normalize("NFC", password)
