"""A stack for a single test, of which nothing runs yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_stack import Stack, StackConfiguration
from embedded_stack.configuration import reserved_port_offset


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """On ports and in a state folder of its own. It is stopped after the test."""
    with reserved_port_offset() as offset:
        stack = Stack(StackConfiguration(state_dir=tmp_path, port_offset=offset))
        yield stack
        stack.stop()
