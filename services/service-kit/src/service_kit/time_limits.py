"""A limit of time that holds although a cancellation was swallowed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CANCEL_AGAIN_SECONDS = 0.1


class TimeLimitExceeded(TimeoutError):  # noqa: N818 - a state of the block
    """A block took longer than its limit."""


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but the block is cancelled again until it ends. Raises `TimeLimitExceeded`.

    `asyncio.wait_for` of Python 3.11 swallows a cancellation if its future is done in the same moment
    (https://github.com/python/cpython/issues/86296), and asyncmy opens its connections with it. The block would then
    wait for a server that does not answer.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is None:
        raise RuntimeError("time_limit needs a task")
    cancelling, cancellations = task.cancelling(), 0
    timer: asyncio.TimerHandle

    def cancel() -> None:
        nonlocal timer, cancellations
        cancellations += 1
        task.cancel()
        timer = loop.call_later(_CANCEL_AGAIN_SECONDS, cancel)

    timer = loop.call_later(seconds, cancel)
    try:
        yield
    except asyncio.CancelledError as error:
        # Another may have cancelled the task, too.
        if cancellations and task.cancelling() - cancellations <= cancelling:
            raise TimeLimitExceeded(f"not done within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
        for _ in range(cancellations):
            task.uncancel()
