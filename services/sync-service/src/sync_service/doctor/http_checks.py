"""What the registrar says about the connectors, and sync-service about its routes. Imports little."""

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from sync_service.check_results import Result

_ROUTE_REMEDIES = {
    "in doubt": "sync-service reconcile --repair --route {0}",
    "differs": "sync-service reconcile --repair --route {0}",
    "stopped": "correct the cause (GET /v1/status), and run: sync-service routes resume {0}",
    "paused": "sync-service routes resume {0}",
    "blocked": "restore the dependency: the route continues by itself",
    "unknown": "see whether Kafka answers, and the log of sync-service",
}
_LONGEST = 300


def registrar_results(address: str | None, seconds: float) -> list[Result]:
    """Its connectors read the logs of the databases; it checks their grants and log settings, and Kafka Connect."""
    if address is None:
        return [Result("registrar", None, "not asked: REGISTRAR_URL is not set")]
    try:
        connectors = _get(f"{address.rstrip('/')}/v1/connectors", {}, seconds)
        return [Result("registrar", True, f"answers at {address}"), *map(connector_result, connectors)]
    except _FAILURES as error:
        return [
            Result("registrar", False, f"{address}: {_reason(error)}", "start the registrar, or correct REGISTRAR_URL")
        ]


def service_results(address: str, token: str | None, seconds: float) -> list[Result]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        status = _get(f"{address.rstrip('/')}/v1/status", headers, seconds)
        found = list(status_results(status))
    except _FAILURES as error:
        return [
            Result("sync-service", False, f"{address}: {_reason(error)}", "start sync-service, or correct SYNC_URL")
        ]
    return [Result("sync-service", True, f"answers at {address}"), *found]


def status_results(status: Mapping[str, Any]) -> Iterator[Result]:
    """Of the answer of `/v1/status`."""
    if status["refused_routes_version"] is not None:
        wrong = "the routes file is wrong, and the former routes are in force"
        yield Result("routes in force", False, wrong, "sync-service routes check")
    for route in status["routes"]:
        state, lag = route["state"], route["lag"]
        detail = state if lag is None else f"{state}, lag {lag:,}"
        remedy: str | None = _ROUTE_REMEDIES.get(state)
        yield Result(f"route {route['name']}", remedy is None, detail, remedy and remedy.format(route["name"]))


def connector_result(connector: Mapping[str, Any]) -> Result:
    """Of one object of the registrar's `/v1/connectors`."""
    name = f"connector {connector['name']}"
    problem = connector["problem"] or connector.get("waits_for") or connector.get("source_problem")
    if problem:
        return Result(name, False, str(problem)[:_LONGEST], "the output of `registrar sources` has what is missing")
    awaited = connector.get("rows_awaited") or ()
    detail = f"{connector['state']}, a snapshot copies {', '.join(awaited)}" if awaited else str(connector["state"])
    return Result(name, True, detail)


# Of urllib, of a body that is no JSON, and of another answer than that of the service.
_FAILURES = (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError)


def _get(url: str, headers: Mapping[str, str], seconds: float) -> Any:
    if not url.startswith(("http://", "https://")):
        raise ValueError("no address of HTTP")
    request = Request(url, headers={"Accept": "application/json", **headers})  # noqa: S310 - checked
    with urlopen(request, timeout=seconds) as response:  # noqa: S310 - checked
        return json.load(response)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError | TypeError | AttributeError):
        return "its answer is not that of the service"
    return str(error)[:_LONGEST] or type(error).__name__
