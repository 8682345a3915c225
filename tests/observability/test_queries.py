"""Every panel of the dashboard has data on a system that works, and every alert queries metrics that exist."""

import re
from typing import Any

import pytest

from observability.prometheus import ALERTS, PANELS, Prometheus
from support.polling import eventually

QUERIES = [
    pytest.param(target, id=f"{panel['title']}-{target['refId']}") for panel in PANELS for target in panel["targets"]
]


def expression(target: dict[str, Any]) -> str:
    """As Grafana would send it, but of a time in which the traffic is, however long the tests before this one took."""
    asked: str = target["expr"].replace("$__rate_interval", "15m")
    assert "$" not in asked
    return asked


@pytest.mark.parametrize("target", QUERIES)
async def test_panel_is_not_empty(target: dict[str, Any], prometheus: Prometheus) -> None:
    series = await eventually(lambda: prometheus.query(expression(target)))
    wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert all(wanted <= each.labels.keys() for each in series)


@pytest.mark.parametrize("target", QUERIES)
async def test_panel_queries_existing_metrics(target: dict[str, Any], prometheus: Prometheus) -> None:
    """Also where an `or` would hide that there is nothing. (Alerts are there when one fires.)"""
    for selector in await prometheus.selectors(expression(target)):
        if not selector.startswith("ALERTS"):
            await eventually(lambda selector=selector: prometheus.query(selector))  # type: ignore[misc]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
async def test_alert_queries_existing_metrics(alert: dict[str, Any], prometheus: Prometheus) -> None:
    selectors = await prometheus.selectors(alert["expr"])
    assert selectors
    for selector in selectors:
        await eventually(lambda selector=selector: prometheus.query(selector))  # type: ignore[misc]


async def test_prometheus_evaluates_all_of_them_without_an_error(prometheus: Prometheus) -> None:
    rules = await eventually(
        prometheus.rules, lambda rules: bool(rules) and all(rule["health"] != "unknown" for rule in rules)
    )
    health = {rule["name"]: (rule["health"], rule.get("lastError")) for rule in rules}
    assert health == {alert["alert"]: ("ok", None) for alert in ALERTS}
