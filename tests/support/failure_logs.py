"""A pytest plugin that adds to a failed test what the components of its stacks logged while it ran.

Of each log it shows the last warnings and errors. Of a component that does not run it shows the end of the log.
"""

import json
import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from embedded_stack import Stack
from embedded_stack.log_lines import SHOWN_LEVELS
from embedded_stack.process import ComponentProcess
from support.stack_commands import StackCommands

MAX_LINES = 15
MAX_LINE_LENGTH = 600

# As Log4j, MySQL, nginx and Python write them; MongoDB and the services write JSON.
_TROUBLE = re.compile(r"\b(WARN|ERROR|FATAL)\b|\[(Warning|ERROR|warn|error|crit|alert|emerg)\]|^\w+Error: ")
_positions = pytest.StashKey[Mapping[Path, int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    item.stash[_positions] = {file: file.stat().st_size for state in _states(item) for file in _logs(state)}
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        positions = item.stash.get(_positions, {})
        for state in _states(item):
            for file in _logs(state):
                if shown := _shown(file, state, positions.get(file, 0)):
                    report.sections.append((f"{file.stem} of the stack in {state}", shown))
    return report


def _states(item: pytest.Item) -> list[Path]:
    """The state folders of the stacks among the test's fixtures."""
    states = []
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Stack):
            states.append(value.configuration.state)
        elif isinstance(value, StackCommands):
            states.append(value.state)
    return list(dict.fromkeys(states))


def _logs(state: Path) -> list[Path]:
    return sorted((state / "log").glob("*.log"))


def _shown(file: Path, state: Path, position: int) -> str:
    process = ComponentProcess(file.stem, state)
    if process.expected and process.running() is None:
        return f"It does not run: it {process.exit_reason()}. The end of its log:\n{process.log_tail()}"
    with file.open("rb") as log:
        log.seek(position)
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join([line[:MAX_LINE_LENGTH] for line in lines if _is_trouble(line)][-MAX_LINES:])


def _is_trouble(line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return _TROUBLE.search(line) is not None
    if not isinstance(record, dict):
        return False
    return record.get("level") in SHOWN_LEVELS or record.get("s") in {"W", "E", "F"}
