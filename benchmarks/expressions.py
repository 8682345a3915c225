"""The time that `where` and `expr` of a route take for each event: `python -m benchmarks.expressions`.

An event of the built-in route of the users is decoded and mapped, without any store.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import yaml

from sync_service.apply.decode import decode_change
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file

EVENTS = 20_000
ROUNDS = 5
ROW: Mapping[str, Any] = {
    "id": "u1",
    "username": "ada",
    "name": "Ada",
    "role": "customer",
    "is_active": 1,
    "tokens_valid_after": None,
    "ended_sessions": None,
    "created_at": "2026-11-24T01:02:03.123456Z",
    "updated_at": "2026-11-24T01:02:03.123456Z",
}
SOURCE: Mapping[str, Any] = {
    "connector": "mysql",
    "name": "cdc.mysql",
    "db": "auth",
    "table": "users",
    "ts_ms": 1795482123000,
    "server_id": 1,
    "gtid": "3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
}
THREE_TERMS = "is_active && role == 'customer' && created_at > timestamp('2026-01-01T00:00:00Z')"


def microseconds(route: Route) -> float:
    """The processor time of an event, in the fastest round."""
    value = json.dumps({"op": "u", "before": ROW, "after": ROW, "source": SOURCE}).encode()
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for number in range(EVENTS):
            decode_change(route, b'{"id":"u1"}', value, topic_partition="t" * 39, number=number)
        rounds.append((time.process_time() - begun) / EVENTS * 1e6)
    return min(rounds)


def main() -> None:
    declared = yaml.safe_load(default_routes_file().read_text())["users"]
    label = {"expr": "name + ' (' + username + ')'", "type": "string"}
    subjects: Mapping[str, Mapping[str, Any]] = {
        "neither where nor expr": {},
        "where: is_active": {"where": "is_active"},
        "where with three conditions": {"where": THREE_TERMS},
        "where with a regular expression": {"where": "name.matches('^A.*')"},
        "where that is false": {"where": "!is_active"},
        "one computed text": {"fields": {**declared["fields"], "label": label}},
    }
    for name, options in subjects.items():
        route = Route.model_validate({**declared, "name": "users", **options})
        print(f"{name:<32}{microseconds(route):6.1f} µs")


if __name__ == "__main__":
    main()
