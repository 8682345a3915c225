"""Room on disks, before it is needed and after it has run out."""

import shutil
from pathlib import Path

from embedded_stack.errors import StackError

_FULL_BYTES = 64 * 1024**2


def require_room(folder: Path, needed_bytes: int, what: str, remedy: str) -> None:
    """Raises `StackError` if the folder's disk has less than `what` needs. `remedy` is another way than making room."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StackError(
            f"{folder} has {free // 1024**2} MB left and {what} needs {needed_bytes // 1024**2} MB: "
            f"make room, or {remedy}."
        )


def disk_is_full(folder: Path) -> bool:
    """Has the folder's disk so little room that what failed failed of that?"""
    return shutil.disk_usage(folder).free < _FULL_BYTES
