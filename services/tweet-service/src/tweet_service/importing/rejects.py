"""The file of rejected records: a line of JSON each, with the line in the dataset and the reason."""

import errno
import json
from pathlib import Path
from types import TracebackType
from typing import Self

from tweet_service.importing.reading import Record

_SHOWN_BYTES = 2000
_BEGINNING = b'{"line": '


class Rejects:
    """The file, open for appending. It is removed in the end if there is nothing in it."""

    def __init__(self, path: Path, *, keep_bytes: int) -> None:
        """`keep_bytes` of a former run stay; what it wrote behind them will be written again.

        Raises `OSError`; also if there is a file of this name that is none of rejects, so that no other is lost.
        """
        self.path = path
        if path.exists() and not _is_ours(path):
            raise FileExistsError(errno.EEXIST, "is there, and no file of rejects", str(path))
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
        """Append, and return how long the file is now. Raises `OSError`."""
        for record, reason in rejected:
            shown = record.raw[:_SHOWN_BYTES].decode(errors="replace")
            line = {"line": record.line, "reason": reason, "record": shown}
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        return self._file.tell()


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) in {b"", _BEGINNING}
