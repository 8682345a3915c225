"""Writes a changed routes file, as a whole or not at all: other processes read it at any time."""

import os
import tempfile
from pathlib import Path

from sync_service.routes.loader import InvalidRoutes, load_routes


def require_valid(path: Path, text: str) -> None:
    """Raise `InvalidRoutes` if the file at `path` would not be valid with this text."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8", newline="") as candidate:
        candidate.write(text)
        candidate.flush()
        try:
            load_routes(Path(candidate.name), needs_secret=False)
        except InvalidRoutes as error:
            raise InvalidRoutes([each.replace(candidate.name, str(path)) for each in error.problems]) from error


def write_atomically(path: Path, text: str) -> None:
    """Raises `OSError`, also for a file that is mounted alone: it can't be replaced."""
    path = path.resolve()
    before = path.stat()
    candidate = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with candidate.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            # The service that reads the file may run as another user.
            os.chown(candidate, before.st_uid, before.st_gid)
        candidate.chmod(before.st_mode & 0o7777)
        candidate.replace(path)
    finally:
        candidate.unlink(missing_ok=True)
