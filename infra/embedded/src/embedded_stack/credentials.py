"""Passwords of a stack, generated at its first start and stored in its state folder."""

import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


def _new() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Credentials:
    mysql_root: str = field(default_factory=_new)
    mysql_auth_service: str = field(default_factory=_new)
    mysql_sync_service: str = field(default_factory=_new)
    mysql_debezium: str = field(default_factory=_new)
    key_encryption: str = field(default_factory=_new)
    sync_operator: str = field(default_factory=_new)

    @classmethod
    def load_or_create(cls, file: Path) -> Self:
        """Read `file`, or create it, readable only by its owner. A file of an earlier release is completed."""
        known = json.loads(file.read_text()) if file.exists() else {}
        created = cls(**known)
        if known.keys() == asdict(created).keys():
            return created
        write_private(file, json.dumps(asdict(created), indent=2) + "\n")
        return created


def write_private(file: Path, content: str) -> None:
    """Write `file` atomically. At no moment can other users read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Each writer has its own draft, because several programs may start parts of a stack at the same time.
    descriptor, draft = tempfile.mkstemp(prefix=f"{file.name}.", suffix=".new", dir=file.parent)
    with os.fdopen(descriptor, "w") as text:
        text.write(content)
    Path(draft).replace(file)
