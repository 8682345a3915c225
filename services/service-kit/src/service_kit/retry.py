"""Retries with exponential backoff, by stamina.

    retrier = Retrier(on=(PyMongoError,), backoff=Backoff(initial=0.1, maximum=2.0), on_failure=log_failure)
    result = await retrier.run(write)

Only the errors named by `on` are retried; every other one is raised, a cancellation of the task included. Tests replace
the clock: within `stamina.set_testing(True, attempts=…)` no retry waits.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

ResultT = TypeVar("ResultT")

RetryOn = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]

# stamina would log and count every retry of the process. Here each caller says what it reports.
set_on_retry_hooks(())


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after a failure, in seconds: `initial` at first, doubled with each failure up to `maximum`.

    A random part of each delay, `jitter` of it at most, is left out, so that clients that failed together do not return
    together. (stamina's own backoff has no jitter any more once it has reached the maximum.)
    """

    initial: float
    maximum: float
    jitter: float = 0.5

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row, counted from 1."""
        # The exponent is bounded because a float overflows after some hours of failures.
        full = min(self.initial * 2.0 ** min(failures - 1, 60), self.maximum)
        return full * random.uniform(1.0 - self.jitter, 1.0)  # noqa: S311 - not a secret


class Cancelled(Exception):  # noqa: N818 - a request of the caller, not an error
    """`Retrier.cancel` was called: there is no further attempt."""


class Retrier:
    """Repeats a call until it succeeds.

    `on` are the errors to retry, or a function that says whether to retry one. `attempts` and `timeout` (seconds) limit
    the retries; without them there is no limit. `on_failure` gets each error that may be retried, the last one too, and
    the seconds until the next attempt.
    """

    def __init__(
        self,
        *,
        on: RetryOn,
        backoff: Backoff,
        attempts: int | None = None,
        timeout: float | None = None,
        on_failure: Callable[[Exception, float], object] | None = None,
    ) -> None:
        self._on = on
        self._backoff = backoff
        self._attempts = attempts
        self._timeout = timeout
        self._on_failure = on_failure
        self._waits: set[asyncio.Timeout] = set()
        self.cancelled = False

    def cancel(self) -> None:
        """End every `run` that waits for its next attempt, and let no attempt follow one that has not finished yet."""
        if self.cancelled:
            return
        self.cancelled = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            wait.reschedule(now)

    async def run(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """The result of the first call that succeeds. At least one call is made.

        Raises `Cancelled`, an error that is not to be retried, or the last error if there are no retries left.
        """
        retries = aiter(stamina.retry_context(self._decision(), self._attempts, self._timeout))
        while True:
            with await self._next(retries):
                return await call()

    def run_blocking(self, call: Callable[[], ResultT], stop: threading.Event | None = None) -> ResultT:
        """As `run`, for code without an event loop. `stop` has the effect of `cancel` on this run."""
        stop = stop or threading.Event()
        decide, delay = self._decision(), 0.0

        def decide_without_delay(error: Exception) -> bool | float:
            nonlocal delay
            delay = decide(error)
            return False if delay is False else 0.0

        for attempt in stamina.retry_context(decide_without_delay, self._attempts, self._timeout):
            # Waits here, because stamina's own wait can't be ended early.
            if attempt.num > 1 and stop.wait(0.0 if stamina.is_testing() else delay):
                raise Cancelled
            with attempt:
                return call()
        raise AssertionError("stamina returns or raises")

    def _decision(self) -> Callable[[Exception], bool | float]:
        """stamina's backoff hook for one run: False, or the delay in seconds."""
        failures = 0

        def delay_after(error: Exception) -> bool | float:
            nonlocal failures
            if not self._is_retryable(error):
                return False
            failures += 1
            delay = self._backoff.delay(failures)
            if self._on_failure is not None:
                self._on_failure(error, delay)
            return delay

        return delay_after

    def _is_retryable(self, error: Exception) -> bool:
        on = self._on
        return isinstance(error, on) if isinstance(on, type | tuple) else on(error)

    async def _next(self, retries: AsyncIterator[stamina.Attempt]) -> stamina.Attempt:
        """Wait for the next attempt. Here stamina raises the last error, too, if there is none."""
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.add(wait)
                if self.cancelled:
                    wait.reschedule(asyncio.get_running_loop().time())
                return await anext(retries)
        except TimeoutError as error:
            if wait.expired():
                raise Cancelled from error
            raise
        finally:
            self._waits.discard(wait)
