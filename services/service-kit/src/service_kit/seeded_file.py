"""A file that is copied from a packaged one, and that operators and commands may edit.

As long as it is not edited it follows the packaged one of later releases: the hash of the copied content is in a file
beside it, `<name>.seed`.
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
    recorded = record.read_text().strip() if record.exists() else None
    is_edited = current is not None and recorded != _hash(current)
    # An interrupted copy has the packaged content, and the hash of the former one.
    is_interrupted = current == content and recorded is not None
    if is_edited and not is_interrupted:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    written_hash = f"{_hash(content)}\n".encode()
    if current is None:
        # First, because a file without it would be taken for one that is not a copy.
        write_atomically(record, written_hash)
    if current != content:
        write_atomically(path, content)
    if current is not None and recorded != _hash(content):
        write_atomically(record, written_hash)
    return current != content


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
