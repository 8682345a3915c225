"""Hashes passwords with argon2id (passlib) in a bounded thread pool.

Parameters: OWASP Password Storage Cheat Sheet, m=19456 KiB, t=2, p=1. A hash takes about 30 ms of one core, so that it
must not run in the event loop, and more threads than cores would not be faster.
"""

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.hash import argon2

from auth_service.ranked_queue import QueueFull, RankedQueue
from service_kit.problems import ServiceUnavailable

# A longer queue per thread (about ten seconds) gets a 503 with Retry-After instead.
MAX_QUEUED_PER_WORKER = 300

_NICENESS = 5

ResultT = TypeVar("ResultT")


class PasswordHasher:
    """Hashes with the given parameters, and verifies hashes with any. `memory_kib` is per thread.

    `rank` is how many attempts the client has made recently. A lower rank goes first, so that a flood of guesses does
    not delay a client that has made none.
    """

    def __init__(self, workers: int, *, memory_kib: int = 19456, rounds: int = 2, parallelism: int = 1) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2", initializer=_lower_priority)
        self._argon2 = argon2.using(type="ID", memory_cost=memory_kib, rounds=rounds, parallelism=parallelism)
        self._queue = RankedQueue(workers, waiting=workers * MAX_QUEUED_PER_WORKER)
        # The password of an unknown user is verified against this hash, so that it takes the same time.
        self._dummy_hash: str = self._argon2.hash("not a password of any user")

    @property
    def queued(self) -> int:
        """How many passwords are being hashed or wait."""
        return len(self._queue)

    async def hash(self, password: str, *, rank: int = 0) -> str:
        """Raises `ServiceUnavailable` if the queue is full."""
        return await self._run(lambda: str(self._argon2.hash(_normalized(password))), rank)

    async def verify(self, password: str, password_hash: str | None, *, rank: int = 0) -> bool:
        """Whether the password matches the hash. Without a hash: False, after the same time.

        Raises `ServiceUnavailable` if the queue is full.
        """
        against = password_hash or self._dummy_hash
        matches = await self._run(lambda: bool(self._argon2.verify(_normalized(password), against)), rank)
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash has other parameters than the present ones."""
        return bool(self._argon2.needs_update(password_hash))

    async def _run(self, work: Callable[[], ResultT], rank: int) -> ResultT:
        try:
            async with self._queue.place(rank):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except QueueFull as error:
            raise ServiceUnavailable("Too many users are logging in at the moment.", retry_after_seconds=5) from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _lower_priority() -> None:
    """Let the event loop run first, so that health probes do not wait for hashes. Linux has priorities per thread."""
    if hasattr(os, "setpriority"):
        thread = threading.get_native_id()
        # Relative, because a process with a low priority may not raise it.
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))


def _normalized(password: str) -> str:
    """RFC 8265 §4.2.2: devices send the same password in different forms of Unicode."""
    return unicodedata.normalize("NFC", password)
