"""What the registrar says about the connectors, and sync-service about its routes."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import httpx

from service_kit.http_client import internal_client
from sync_service.check_results import Result

_ROUTE_REMEDIES = {
    "in doubt": "sync-service reconcile --repair --route {0}",
    "differs": "sync-service reconcile --repair --route {0}",
    "stopped": "correct the cause (GET /v1/status), and run: sync-service routes resume {0}",
    "paused": "sync-service routes resume {0}",
    "blocked": "restore the dependency: the route continues by itself",
    "unknown": "see whether Kafka answers, and the log of sync-service",
}
# States that a comparison ends.
_COMPARED = ("in doubt", "differs")
_LONGEST = 300
# User and password of an address.
_ACCOUNT = re.compile(r"^(\w+://)?.*@")


async def registrar_results(address: str | None, seconds: float) -> list[Result]:
    """Its connectors read the logs of the databases; it checks their grants and log settings, and Kafka Connect."""
    if address is None:
        return [Result("registrar", None, "not asked: REGISTRAR_URL is not set")]
    try:
        connectors = await _get(f"{address.rstrip('/')}/v1/connectors", {}, seconds)
        return [Result("registrar", True, f"answers at {_shown(address)}"), *map(connector_result, connectors)]
    except _FAILURES as error:
        detail = f"{_shown(address)}: {_reason(error)}"
        return [Result("registrar", False, detail, "start the registrar, or correct REGISTRAR_URL")]


async def service_results(
    address: str, token: str | None, seconds: float, elsewhere: Collection[str] = ()
) -> list[Result]:
    """`elsewhere` are the routes whose source is on another server."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        status = await _get(f"{address.rstrip('/')}/v1/status", headers, seconds)
        found = list(status_results(status, elsewhere))
    except _FAILURES as error:
        detail = f"{_shown(address)}: {_reason(error)}"
        return [Result("sync-service", False, detail, "start sync-service, or correct SYNC_URL")]
    return [Result("sync-service", True, f"answers at {_shown(address)}"), *found]


def status_results(status: Mapping[str, Any], elsewhere: Collection[str] = ()) -> Iterator[Result]:
    """Of the answer of `/v1/status`. `elsewhere` are the routes whose source is on another server."""
    if status["refused_routes_version"] is not None:
        wrong = "the routes file is wrong, and the former routes are in force"
        yield Result("routes in force", False, wrong, "sync-service routes check")
    for route in status["routes"]:
        state, lag = route["state"], route["lag"]
        detail = state if lag is None else f"{state}, lag {lag:,}"
        remedy: str | None = _ROUTE_REMEDIES.get(state)
        if state in _COMPARED and route["name"] in elsewhere:
            remedy = "compare the copy with its source, which is on another server: `reconcile` can't read it"
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


# Of HTTP, of a body that is no JSON, and of another answer than that of the service.
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError)


async def _get(url: str, headers: Mapping[str, str], seconds: float) -> Any:
    """Neither a proxy nor the target of a redirect gets the headers."""
    async with internal_client(timeout=seconds) as client:
        response = await client.get(url, headers=headers)
    return response.raise_for_status().json()


def _shown(address: str) -> str:
    return _ACCOUNT.sub(r"\1", address)


def _reason(error: Exception) -> str:
    """Without the address, which may have a password."""
    match error:
        case httpx.HTTPStatusError(response=response):
            return f"it answers {response.status_code} {response.reason_phrase}"
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.InvalidURL():
            return "no address of HTTP"
        case KeyError() | TypeError() | AttributeError():
            return "its answer is not that of the service"
    return str(error)[:_LONGEST] or type(error).__name__
