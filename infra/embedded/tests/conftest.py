"""A stack for a single test, of which nothing runs yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_stack import Stack
from support.stacks import stack_in


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """On ports and in a state folder of its own. It is stopped after the test."""
    with stack_in(tmp_path) as stack:
        yield stack
