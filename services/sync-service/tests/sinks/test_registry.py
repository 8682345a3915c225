"""Outside of `sinks`, no module names a store, and only a few modules use a driver."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import sync_service
from sync_service.sinks.sources import SOURCES
from sync_service.sinks.targets import Store

PACKAGE = Path(sync_service.__file__).parent
DRIVERS = ("asyncmy", "bson", "motor", "pymongo")
# They use the databases of the sync's own: accounts are read from the copy of users.
NOT_OF_A_STORE = {
    "accounts.py": ("motor",),
    "change_feed/endpoints.py": ("pymongo",),
    "main.py": ("motor", "pymongo"),
    # An id keeps its type.
    "debezium/extended_json.py": ("bson",),
    # Conversions know the types that drivers return.
    "routes/converters.py": ("bson",),
    "routes/json_numbers.py": ("bson",),
    "routes/json_values.py": ("bson",),
}


def test_names_of_stores_are_written_in_sinks_only() -> None:
    named = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file, tree in _modules_outside_sinks()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in get_args(Store)
    ]
    assert named == []


def test_drivers_are_used_in_sinks_only() -> None:
    used = {
        (str(file.relative_to(PACKAGE)), module.partition(".")[0])
        for file, tree in _modules_outside_sinks()
        for node in ast.walk(tree)
        for module in _imported(node)
        if module.partition(".")[0] in DRIVERS
    }
    assert used <= {(file, driver) for file, drivers in NOT_OF_A_STORE.items() for driver in drivers}


def test_every_store_has_a_source() -> None:
    assert set(SOURCES) == set(get_args(Store))


def _modules_outside_sinks() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.relative_to(PACKAGE).parts[0] != "sinks":
            yield file, ast.parse(file.read_text())


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [each.name for each in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []
