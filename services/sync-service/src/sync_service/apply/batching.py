"""Groups changes into the batches that are written in one statement. Pure."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import supersedes


def chunks(changes: Iterable[Change], size: int, *, keeps_rows: bool = False) -> Iterator[list[Change]]:
    """Split into lists of at most `size`. A key occurs once in a list; changes of one key stay in their order.

    `keeps_rows`: deletes keep the values of their rows, so these are written before them.
    """
    # Where a change must not be left out, the one that follows is in the next round.
    rounds: list[dict[Key, Change]] = []
    latest: dict[Key, int] = {}
    for change in changes:
        number = latest.get(change.key)
        if number is not None and _folds(change, rounds[number][change.key], keeps_rows=keeps_rows):
            rounds[number][change.key] = replace(change, superseded=rounds[number][change.key])
            continue
        number = latest[change.key] = 0 if number is None else number + 1
        if number == len(rounds):
            rounds.append({})
        rounds[number][change.key] = change
    for each in rounds:
        ordered = list(each.values())
        for start in range(0, len(ordered), size):
            yield ordered[start : start + size]


def _folds(change: Change, earlier: Change, *, keeps_rows: bool) -> bool:
    """May `earlier` be left out, because the change follows it?"""
    if keeps_rows and change.values is None and earlier.values is not None:
        return False
    return change.source_id == earlier.source_id and supersedes(change.version, earlier.version)
