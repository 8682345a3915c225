"""Checks of free disk space."""

import shutil
from pathlib import Path

from embedded_stack.errors import StackError

_FULL_BYTES = 64 * 1024**2


def require_space(folder: Path, needed_bytes: int, what: str, remedy: str) -> None:
    """Raise `StackError` if the folder's disk has less space than `what` needs. `remedy` is an alternative."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StackError(
            f"{folder} has {free // 1024**2} MB left and {what} needs {needed_bytes // 1024**2} MB: "
            f"free some space, or {remedy}."
        )


def disk_is_full(folder: Path) -> bool:
    """Is so little space left that this explains a failure?"""
    return shutil.disk_usage(folder).free < _FULL_BYTES
