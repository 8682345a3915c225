"""The cache folder: an entry is complete or not there, and one process at a time works on it."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded_stack.errors import StackError
from embedded_stack.room import disk_is_full, require_room

NEEDED_BYTES = 2 * 1024**3


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Wait until no other process is filling the cache."""
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
        require_room_in(cache)
        draft = cache / f"{name}.incomplete"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        fill(draft)
        draft.rename(folder)
    return folder


def require_room_in(cache: Path) -> None:
    """Raises `StackError` if the disk is too full for what is going to be fetched."""
    require_room(cache, NEEDED_BYTES, "what is fetched", "set TANDEM_CACHE_DIR to a folder on another disk")


def download_error(cache: Path, what: str, reason: str) -> StackError:
    """Why `what` was not fetched, and what to do."""
    if disk_is_full(cache):
        return StackError(
            f"{what} can't be fetched: the disk of {cache} is full. Make room, or set TANDEM_CACHE_DIR; the same "
            "command fetches what is missing."
        )
    return StackError(
        f"{what} can't be downloaded; is there a network? The same command fetches what is missing. ({reason})"
    )
