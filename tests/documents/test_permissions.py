"""The table in docs/security.md is what the code says."""

from docs import permissions


def test_table_matches_the_code() -> None:
    assert permissions.PAGE.read_text() == permissions.page(), "run `make generate`"
