"""The cache folder: an entry is complete or not there, and one process at a time works on it."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded_stack.errors import StackError

NEEDED_BYTES = 2 * 1024**3


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Wait until nobody else is filling the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(cache: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; `fill` makes its content once, in a draft that is then renamed."""
    folder = cache / name
    if folder.exists():
        return folder
    with locked(cache):
        if folder.exists():
            return folder
        require_room(cache)
        draft = cache / f"{name}.incomplete"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        fill(draft)
        draft.rename(folder)
    return folder


def require_room(cache: Path) -> None:
    """Raises `StackError` if the disk is too full for what is going to be fetched."""
    free = shutil.disk_usage(cache).free
    if free < NEEDED_BYTES:
        raise StackError(
            f"{cache} has {free // 1024**2} MB left and the components need {NEEDED_BYTES // 1024**2} MB: "
            "make room or set TANDEM_CACHE_DIR."
        )
