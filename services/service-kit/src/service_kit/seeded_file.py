"""A file that is copied from a packaged one, and that operators and commands may edit.

As long as it is not edited it follows the packaged one of later releases: the hash of the copied content is in a file
beside it, `<name>.seed`. While the content is replaced, both hashes are there.
"""

import hashlib
from pathlib import Path

from service_kit.files import write_atomically


def record_of(path: Path) -> Path:
    """The file with the hash of the copied content. Without it the file is not a copy, and never changed."""
    return path.with_name(f"{path.name}.seed")


def seed_file(path: Path, packaged: Path) -> bool:
    """Copy the packaged file to `path`, unless there is a file that is edited, or no copy. Was it written?

    Readers see the former content or the new one, and none in between. Raises `OSError`.
    """
    content, record = packaged.read_bytes(), record_of(path)
    current = path.read_bytes() if path.exists() else None
    recorded = record.read_bytes() if record.exists() else None
    # An interrupted copy of an earlier release has the packaged content, and only the hash of the former one.
    is_copy = recorded is not None and (current == content or (current is not None and _hash(current) in recorded))
    if current is not None and not is_copy:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if current != content:
        # First, because a file without its hash would be taken for one that is edited, or that is not a copy.
        write_atomically(record, _hash(content) if current is None else _hash(content) + _hash(current))
        write_atomically(path, content)
    if current is not None and recorded != _hash(content):
        write_atomically(record, _hash(content))
    return current != content


def _hash(content: bytes) -> bytes:
    """A line of the record."""
    return f"{hashlib.sha256(content).hexdigest()}\n".encode()
