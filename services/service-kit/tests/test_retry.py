"""Retries: which errors, how often, how long, and how they end."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import stamina

from service_kit.retry import Backoff, Cancelled, Retrier

BACKOFF = Backoff(initial=0.1, maximum=2.0)


@pytest.fixture
def no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1000, cap=True):
        yield


class Flaky:
    """Fails with these errors, one a call, and then returns the number of calls."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self) -> int:
        return self.call()

    def call(self) -> int:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self.calls


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(initial=0.5, maximum=30.0, jitter=0.0)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 7, 10_000)] == [0.5, 1.0, 2.0, 30.0, 30.0]


def test_jitter_leaves_out_a_part_of_each_delay() -> None:
    backoff = Backoff(initial=1.0, maximum=8.0, jitter=0.5)
    for failures, full in ((1, 1.0), (4, 8.0), (9, 8.0)):
        delays = {backoff.delay(failures) for _ in range(100)}
        assert full / 2 <= min(delays) < max(delays) <= full


async def test_call_is_repeated_until_it_succeeds(no_waits: None) -> None:
    reported: list[tuple[str, float]] = []
    retrier = Retrier(
        on=(OSError, TimeoutError),
        backoff=Backoff(initial=0.1, maximum=0.3, jitter=0.0),
        on_failure=lambda error, delay: reported.append((str(error), delay)),
    )
    call = Flaky(OSError("a"), TimeoutError("b"), OSError("c"))
    assert await retrier.run(call) == 4
    assert reported == [("a", 0.1), ("b", 0.2), ("c", 0.3)]


async def test_failures_of_one_run_do_not_count_in_the_next(no_waits: None) -> None:
    delays: list[float] = []
    retrier = Retrier(
        on=OSError, backoff=Backoff(0.1, 1.0, jitter=0.0), on_failure=lambda _, delay: delays.append(delay)
    )
    await retrier.run(Flaky(OSError(), OSError()))
    await retrier.run(Flaky(OSError()))
    assert delays == [0.1, 0.2, 0.1]


@pytest.mark.parametrize("error", [KeyError("x"), asyncio.CancelledError()])
async def test_other_errors_are_raised(no_waits: None, error: BaseException) -> None:
    call = Flaky(OSError(), error)
    with pytest.raises(type(error)):
        await Retrier(on=OSError, backoff=BACKOFF).run(call)
    assert call.calls == 2


async def test_function_decides_what_is_retried(no_waits: None) -> None:
    retrier = Retrier(on=lambda error: "again" in str(error), backoff=BACKOFF)
    with pytest.raises(OSError, match="never"):
        await retrier.run(Flaky(OSError("again"), OSError("never")))


async def test_last_error_is_raised_when_no_attempts_are_left(no_waits: None) -> None:
    call = Flaky(*(OSError(str(number)) for number in range(9)))
    with pytest.raises(OSError, match="2"):
        await Retrier(on=OSError, backoff=BACKOFF, attempts=3).run(call)
    assert call.calls == 3


async def test_last_error_is_raised_after_the_timeout() -> None:
    call = Flaky(*(TimeoutError() for _ in range(1000)))
    with pytest.raises(TimeoutError):
        await Retrier(on=TimeoutError, backoff=Backoff(0.01, 0.01), timeout=0.05).run(call)
    assert call.calls < 1000


async def test_cancel_ends_the_wait_for_the_next_attempt() -> None:
    failed = asyncio.Event()
    retrier = Retrier(on=OSError, backoff=Backoff(3600, 3600), on_failure=lambda *_: failed.set())
    call = Flaky(OSError())
    running = asyncio.create_task(retrier.run(call))
    await failed.wait()
    retrier.cancel()
    with pytest.raises(Cancelled):
        await running
    assert call.calls == 1


async def test_cancel_lets_an_attempt_finish_and_allows_no_further_one() -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        started.set()
        await finish.wait()
        raise OSError

    retrier = Retrier(on=OSError, backoff=Backoff(3600, 3600))
    running = asyncio.create_task(retrier.run(call))
    await started.wait()
    retrier.cancel()
    finish.set()
    with pytest.raises(Cancelled):
        await running
    assert await retrier.run(Flaky()) == 1


async def test_cancelled_task_ends_while_it_waits() -> None:
    failed = asyncio.Event()
    retrier = Retrier(on=OSError, backoff=Backoff(3600, 3600), on_failure=lambda *_: failed.set())
    running = asyncio.create_task(retrier.run(Flaky(OSError())))
    await failed.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_blocking_call_is_retried(no_waits: None) -> None:
    call = Flaky(OSError(), OSError())
    assert Retrier(on=OSError, backoff=BACKOFF).run_blocking(call.call) == 3
    with pytest.raises(KeyError):
        Retrier(on=OSError, backoff=BACKOFF).run_blocking(Flaky(KeyError()).call)


def test_stop_ends_the_wait_of_a_blocking_call() -> None:
    failed, stop = threading.Event(), threading.Event()
    retrier = Retrier(on=OSError, backoff=Backoff(3600, 3600), on_failure=lambda *_: failed.set())
    call = Flaky(OSError())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(retrier.run_blocking, call.call, stop)
        assert failed.wait(10)
        stop.set()
        with pytest.raises(Cancelled):
            running.result(10)
    assert call.calls == 1


def test_stop_that_is_set_allows_a_blocking_call_one_attempt() -> None:
    stop = threading.Event()
    stop.set()
    retrier = Retrier(on=OSError, backoff=Backoff(3600, 3600))
    assert retrier.run_blocking(Flaky().call, stop) == 1
    with pytest.raises(Cancelled):
        retrier.run_blocking(Flaky(OSError()).call, stop)


def test_blocking_call_that_may_be_stopped_is_retried(no_waits: None) -> None:
    retrier = Retrier(on=OSError, backoff=Backoff(3600, 3600), attempts=3)
    assert retrier.run_blocking(Flaky(OSError(), OSError()).call, threading.Event()) == 3
    with pytest.raises(OSError, match="last"):
        retrier.run_blocking(Flaky(OSError(), OSError(), OSError("last")).call, threading.Event())
