"""Reads the components' logs, and turns notable log lines into short ones for the terminal."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_WRITING_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
SHOWN_LEVELS = frozenset({"warning", "error", "critical"})
_DETAILS_HIDDEN = frozenset({"event", "level", "logger", "service", "timestamp", "request_id", "exception", "notable"})


@dataclass
class LogFollower:
    """Reads the lines that were appended to a log since the last call."""

    file: Path
    _position: int = field(init=False)

    def __post_init__(self) -> None:
        self._position = self.file.stat().st_size if self.file.exists() else 0

    def new_lines(self) -> list[str]:
        if not self.file.exists():
            return []
        if self.file.stat().st_size < self._position:  # rotated
            self._position = 0
        with self.file.open("rb") as log:
            log.seek(self._position)
            content = log.read()
        whole, _, _rest = content.rpartition(b"\n")
        self._position += len(whole) + (1 if whole else 0)
        return whole.decode(errors="replace").splitlines()


def notable(line: str) -> str | None:
    """A short form of a log line of an HTTP write, a warning, an error or a record marked `notable`; else None.

    Lines that are not JSON of a service are ignored; `make logs` shows them.
    """
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "event" not in record:
        return None
    if record["event"] == "request":
        if record.get("method") not in _WRITING_METHODS and record.get("status", 0) < 500:
            return None
        return "{method} {path} → {status} in {duration_ms} ms".format_map(_WithPlaceholders(record))
    level = record.get("level", "info")
    if level not in SHOWN_LEVELS and not record.get("notable"):
        return None
    details = " ".join(f"{key}={value}" for key, value in record.items() if key not in _DETAILS_HIDDEN)
    prefix = f"{level.upper()} " if level in SHOWN_LEVELS else ""
    return f"{prefix}{record['event']} {details}".rstrip()


class _WithPlaceholders(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def stamped(name: str, text: str) -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}  {name:<10}{text}"
