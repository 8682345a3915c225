"""Writes into the connectors which fields they leave out: those that the routes drop as personal.

`make generate` runs it; a test compares the files with what it would write. The routes are those of SYNC_ROUTES_FILE,
by default the built-in ones. Entries for tables and collections without a route stay.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes

CONNECTORS = Path(__file__).parent / "connectors"
# By the store that the connector reads. Debezium's documentation: "column.exclude.list" of the MySQL connector has
# regular expressions, "field.exclude.list" of the MongoDB connector names.
SETTINGS = {"mysql": "column.exclude.list", "mongodb": "field.exclude.list"}


def files(routes: Iterable[Route], folder: Path = CONNECTORS) -> dict[Path, str]:
    """Every connector's file with its text."""
    routes = list(routes)
    return {file: _text(json.loads(file.read_text()), routes) for file in sorted(folder.glob("*.json"))}


def _text(config: dict[str, str], routes: Sequence[Route]) -> str:
    store = "mysql" if "MySqlConnector" in config["connector.class"] else "mongodb"
    setting, prefix = SETTINGS[store], f"{config['topic.prefix']}."
    sources = [".".join(route.source) for route in routes if route.source is not None]
    kept = [
        entry
        for entry in config.get(setting, "").split(",")
        if entry and not any(entry.startswith(f"{source}.") for source in sources)
    ]
    excluded = [
        _entry(store, [*route.source, *path])
        for route in routes
        if route.source is not None and route.topic == prefix + ".".join(route.source)
        for path in route.excluded
    ]
    changed = {name: value for name, value in config.items() if name != setting}
    if kept or excluded:
        changed = _after_include_list(changed, setting, ",".join([*kept, *excluded]))
    return json.dumps(changed, indent=2, ensure_ascii=False) + "\n"


def _entry(store: str, path: Iterable[str]) -> str:
    return ".".join(re.escape(step) if store == "mysql" else step for step in path)


def _after_include_list(config: Mapping[str, str], setting: str, value: str) -> dict[str, str]:
    changed: dict[str, str] = {}
    for name, each in config.items():
        changed[name] = each
        if name in ("table.include.list", "collection.include.list"):
            changed[setting] = value
    return changed if setting in changed else {**changed, setting: value}


if __name__ == "__main__":
    for file, text in files(load_routes(Path(os.environ.get("SYNC_ROUTES_FILE") or default_routes_file()))).items():
        file.write_text(text)
