"""Groups changes into the batches that are written in one statement. Pure."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import supersedes


def chunks(changes: Iterable[Change], size: int) -> Iterator[list[Change]]:
    """Split into lists of at most `size`. A key occurs once in a list; changes of one key stay in their order."""
    chunk: dict[Key, Change] = {}
    for change in changes:
        earlier = chunk.get(change.key)
        if earlier is None:
            chunk[change.key] = change
        elif change.source_id == earlier.source_id and supersedes(change.version, earlier.version):
            chunk[change.key] = replace(change, superseded=earlier)
        else:
            yield list(chunk.values())
            chunk = {change.key: change}
        if len(chunk) >= size:
            yield list(chunk.values())
            chunk = {}
    if chunk:
        yield list(chunk.values())
