"""`sync-service routes list`: the routes of the file, and their states as the service at SYNC_URL reports them.

Without SYNC_URL, that is the service at the local port PORT (8003).

It imports little and asks only `/v1/status`, so that it starts fast and works whatever else is down.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, default_routes_file, load_routes

ANSWER_SECONDS = 5.0
_COLUMNS = ("name", "source", "target", "state", "lag")
_UNKNOWN = "unknown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print an array of objects")


def main(arguments: Sequence[str]) -> None:
    """Print the routes. An invalid file ends the command with its errors and exit code 1."""
    parser = argparse.ArgumentParser(prog="sync-service routes list", description=__doc__)
    add_arguments(parser)
    as_json = parser.parse_args(arguments).json
    # Not by pydantic-settings, whose import takes longer than the rest.
    file = os.environ.get("SYNC_ROUTES_FILE")
    try:
        routes = load_routes(Path(file) if file else default_routes_file(), needs_secret=False)
    except InvalidRoutes as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
    rows = _rows(routes, _states(os.environ.get("SYNC_URL") or _local_address()))
    print(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else _table(rows))


def _local_address() -> str:
    """That of the service in the same container, as for `routes reload`."""
    return f"http://127.0.0.1:{os.environ.get('PORT') or 8003}"


def _states(address: str) -> Mapping[str, Mapping[str, Any]]:
    """What the service reports of each route, by its name. Says on stderr why a state is unknown."""
    if not address.startswith(("http://", "https://")):
        return _without_states("SYNC_URL is no address of HTTP")
    # Only a service without auth-service needs it.
    token = os.environ.get("SYNC_OPERATOR_TOKEN")
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = Request(f"{address.rstrip('/')}/v1/status", headers=headers)  # noqa: S310 - checked
    try:
        with urlopen(request, timeout=ANSWER_SECONDS) as response:  # noqa: S310 - checked
            status = json.load(response)
        states = {str(each["name"]): each for each in status["routes"]}
    except (OSError, HTTPException, ValueError) as error:
        return _without_states(f"sync-service at {address} does not answer: {error}")
    except (KeyError, TypeError):
        return _without_states(f"the answer of {address} is not that of sync-service")
    if unknown := [name for name, each in states.items() if each["state"] == _UNKNOWN]:
        reason = status.get("problem") or "Kafka does not answer, or no partition is assigned"
        _warn(f"no state of {', '.join(unknown)}: {reason}")
    return states


def _without_states(reason: str) -> Mapping[str, Mapping[str, Any]]:
    _warn(f"no states: {reason}")
    return {}


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _rows(routes: Sequence[Route], states: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    if states and (missing := [route.name for route in routes if route.name not in states]):
        _warn(f"no state of {', '.join(missing)}: the running service does not have them yet")
    return [_row(route, states.get(route.name, {})) for route in routes]


def _row(route: Route, status: Mapping[str, Any]) -> dict[str, Any]:
    """`state` and `lag` are None if they are unknown."""
    state = status.get("state")
    source = ".".join(route.source) if route.source else route.topic
    return {
        "name": route.name,
        "source": f"{route.source_store}:{source}",
        "target": f"{route.target.store}:{route.target.place}",
        "state": None if state == _UNKNOWN else state,
        "lag": status.get("lag"),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each route, in columns."""
    lines = [[column.upper() for column in _COLUMNS]]
    lines += [["-" if row[column] is None else str(row[column]) for column in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
