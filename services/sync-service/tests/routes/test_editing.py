"""Entries are removed from the text of a routes file, and nothing else of it changes."""

import pytest

from sync_service.routes.editing import CannotEdit, lines_of_entry, without_entry

FILE = """\
# About the file.

# About the first one.
first:
  topic: a  # why
  # of the first one
  fields:
    - b

# About the second one,
# in two lines.
second: {topic: b, fields: [c,
  d]}


# In between.

third:
  topic: c
  # the end of the third one
# About the end.
"""


@pytest.mark.parametrize(
    ("name", "lines", "kept"),
    [
        ("first", (3, 8), ["# About the file.", "", "# About the second one,"]),
        ("second", (10, 13), ["    - b", "", "# In between.", "", "third:"]),
        ("third", (18, 20), ["# In between.", "", "# About the end."]),
    ],
)
def test_entry_is_removed_with_its_comments(name: str, lines: tuple[int, int], kept: list[str]) -> None:
    assert lines_of_entry(FILE, name) == lines
    edited = without_entry(FILE, name)
    assert "\n".join(kept) in edited
    assert f"{name}:" not in edited
    # Nothing else is changed: every other line is still there, in the same order.
    left = iter(FILE.splitlines())
    assert all(line in left for line in edited.splitlines())


def test_comment_of_the_file_is_kept_and_the_last_entry_ends_the_file() -> None:
    text = "# About the file.\nfirst:\n  topic: a\n\nsecond:\n  topic: b\n"
    assert without_entry(text, "first") == "# About the file.\nsecond:\n  topic: b\n"
    assert without_entry(text, "second") == "# About the file.\nfirst:\n  topic: a\n"
    assert without_entry("a: 1\r\nb: 2\r\n", "a") == "b: 2\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "{first: {topic: a}, second: {topic: b}}\n",
        "first: &shared {topic: a}\nsecond: *shared\n",
        "first: &shared {topic: a}\nsecond:\n  <<: *shared\n",
    ],
    ids=["one line", "alias", "merge"],
)
def test_file_that_only_a_person_can_edit_is_refused(text: str) -> None:
    with pytest.raises(CannotEdit):
        without_entry(text, "first")


def test_missing_entry_is_an_error() -> None:
    for text in ("", "- a\n", "first: 1\n"):
        with pytest.raises(KeyError):
            without_entry(text, "second")
