"""The cache folder. An entry is complete or missing; one process at a time adds entries."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded_stack.disk_space import disk_is_full, require_space
from embedded_stack.errors import StackError

NEEDED_BYTES = 2 * 1024**3


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the lock of the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(cache: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache. `fill` writes its content once, into a draft that is then renamed."""
    folder = cache / name
    if folder.exists():
        return folder
    with locked(cache):
        if folder.exists():
            return folder
        require_space_in(cache)
        draft = cache / f"{name}.incomplete"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        fill(draft)
        draft.rename(folder)
    return folder


def require_space_in(cache: Path) -> None:
    """Raise `StackError` if the disk has too little space for the downloads."""
    require_space(cache, NEEDED_BYTES, "the download", "set TANDEM_CACHE_DIR to a folder on another disk")


def download_error(cache: Path, what: str, reason: str) -> StackError:
    """The error for a failed download of `what`, with the remedy."""
    if disk_is_full(cache):
        return StackError(
            f"{what} can't be downloaded: the disk of {cache} is full. Free some space, or set TANDEM_CACHE_DIR; the "
            "same command downloads what is missing."
        )
    return StackError(
        f"{what} can't be downloaded; is there a network? The same command downloads what is missing. ({reason})"
    )
