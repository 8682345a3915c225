"""Edits the text of a routes file by lines, so that comments and the order of the rest stay. Pure."""

import yaml


class CannotEdit(Exception):  # noqa: N818 - a property of the file
    """The file is written in a way that only a person can edit; one sentence."""


def lines_of_entry(text: str, name: str) -> tuple[int, int]:
    """The first line of a top-level entry (from 1), with the comment directly above it, and its last line.

    Raises `CannotEdit`, `KeyError`.
    """
    lines = text.splitlines()
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise KeyError(name)
    starts = [key.start_mark.line for key, _ in root.value]
    names = [key.value for key, _ in root.value]
    position = names.index(name) if name in names else -1
    if position < 0:
        raise KeyError(name)
    start = starts[position]
    following = starts[position + 1] if position + 1 < len(starts) else len(lines)
    if root.flow_style or following <= start or root.value[position][0].start_mark.column:
        raise CannotEdit("its entries are not on lines of their own")
    end = following
    # What is not indented belongs to the next entry, or to the file.
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith(("#", "..."))):
        end -= 1
    first = start
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    if first == 0:
        # The comment is about the file.
        first = start
    return first + 1, end


def without_entry(text: str, name: str) -> str:
    """The text without a top-level entry and the blank lines after it. Raises `CannotEdit`, `KeyError`."""
    first, last = lines_of_entry(text, name)
    lines = text.splitlines(keepends=True)
    before, after = lines[: first - 1], lines[last:]
    while after and not after[0].strip():
        del after[0]
    if not after:
        while before and not before[-1].strip():
            before.pop()
    edited = "".join((*before, *after))
    wanted = {key: value for key, value in yaml.safe_load(text).items() if key != name}
    try:
        is_right = yaml.safe_load(edited) == (wanted or None)
    except yaml.YAMLError:
        is_right = False
    if not is_right:
        raise CannotEdit("other entries depend on it, for example by an alias")
    return edited
