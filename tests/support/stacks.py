"""Embedded stacks of a test's own, none of whose components is an outside one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedded_stack import Stack, StackConfiguration
from embedded_stack.configuration import reserved_port_offset

_OUTSIDE = (
    "outside_mysql",
    "outside_mysql_account",
    "outside_mongodb",
    "outside_kafka",
    "outside_connect",
    "routes_file",
)


def stack_at(state: Path, offset: int, **settings: Any) -> Stack:
    """A stack whatever the environment says of outside components. Nothing of it is started."""
    own: dict[str, Any] = dict.fromkeys(_OUTSIDE) | {"kind": "full"} | settings
    return Stack(StackConfiguration(state_dir=state, port_offset=offset, **own))


@contextmanager
def stack_in(state: Path, **settings: Any) -> Iterator[Stack]:
    """A stack on free ports. It is stopped at the end."""
    with reserved_port_offset() as offset:
        stack = stack_at(state, offset, **settings)
        try:
            yield stack
        finally:
            stack.stop()
