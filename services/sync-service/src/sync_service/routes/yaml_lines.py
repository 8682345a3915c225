"""YAML with the line of each value, so that an error can name it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlWithLines:
    """The parsed `value`, `lines` (from 1) by location, and errors, each with its line."""

    value: Any
    lines: Mapping[Place, int]
    problems: Sequence[tuple[int, str]]

    def line(self, place: Sequence[str | int]) -> int:
        """The line of the value, or of the innermost one around it."""
        known = tuple(place)
        while known and known not in self.lines:
            known = known[:-1]
        return self.lines.get(known, 1)


def read_yaml(text: str) -> YamlWithLines:
    """A duplicate name in a mapping is an error: its first value would be lost. Raises `yaml.YAMLError`."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return YamlWithLines(None, {}, [])
        lines: dict[Place, int] = {}
        problems: list[tuple[int, str]] = []
        _walk(root, (), lines, problems)
        return YamlWithLines(loader.construct_document(root), lines, problems)
    finally:
        loader.dispose()


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int], problems: list[tuple[int, str]]) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _walk(item, (*place, number), lines, problems)
    elif isinstance(node, yaml.MappingNode):
        names: dict[str, int] = {}
        for name, item in node.value:
            line = name.start_mark.line + 1
            if name.value in names:
                problems.append((line, f"{name.value} occurs twice, first on line {names[name.value]}"))
            names[name.value] = line
            lines.setdefault((*place, name.value), line)
            _walk(item, (*place, name.value), lines, problems)
