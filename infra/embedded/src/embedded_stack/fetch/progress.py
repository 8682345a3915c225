"""A progress bar for operations that do not show their progress."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WIDTH = 40
_POLL_SECONDS = 0.1


@contextmanager
def progress_bar(what: str, done: Callable[[], int], total: int) -> Iterator[None]:
    """Draw a bar while the block runs. `done()` is the amount so far, out of `total`. A log gets one line."""
    if not sys.stdout.isatty():
        print(f"  {what}", flush=True)
        yield
        return
    ended = threading.Event()

    def draw() -> None:
        while not ended.wait(_POLL_SECONDS):
            _draw(what, done() / max(total, 1))

    drawing = threading.Thread(target=draw, daemon=True)
    drawing.start()
    try:
        yield
    finally:
        ended.set()
        drawing.join()
        _draw(what, done() / max(total, 1))
        print(flush=True)


def _draw(what: str, share: float) -> None:
    filled = round(min(share, 1) * _WIDTH)
    print(f"\r  {what:<12} {'━' * filled}{' ' * (_WIDTH - filled)} {min(share, 1):4.0%}", end="", flush=True)
