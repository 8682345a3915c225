"""The file of rejected records: JSON lines with the line in the dataset, the reason and the record."""

import errno
import json
from pathlib import Path
from types import TracebackType
from typing import Self

from tweet_service.importing.reading import Record

_SHOWN_BYTES = 2000
_BEGINNING = b'{"line": '


class Rejects:
    """The file, open for appending. It is deleted at the end if it is empty."""

    def __init__(self, path: Path, *, keep_bytes: int) -> None:
        """Keeps `keep_bytes` of an earlier run; the rest will be written again.

        Raises `OSError`, also if the file exists and is not a file of rejects, so that no other file is overwritten.
        """
        self.path = path
        if path.exists() and not _is_reject_file(path):
            raise FileExistsError(errno.EEXIST, "exists, and is not a file of rejected records", str(path))
        self._file = path.open("ab")
        if self._file.tell() > keep_bytes:
            self._file.truncate(keep_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self.path.stat().st_size == 0:
            self.path.unlink()

    def write(self, rejected: list[tuple[Record, str]]) -> int:
        """Append, and return the length of the file. Raises `OSError`."""
        for record, reason in rejected:
            shown = record.raw[:_SHOWN_BYTES].decode(errors="replace")
            line = {"line": record.line, "reason": reason, "record": shown}
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        return self._file.tell()


def _is_reject_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) in {b"", _BEGINNING}
