"""Counters before the first request."""

from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from auth_service.metrics import AuthMetrics, LoginOutcome, RefreshOutcome


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [("auth_logins_total", get_args(LoginOutcome)), ("auth_refreshes_total", get_args(RefreshOutcome))],
)
def test_outcomes_are_counted_from_zero(name: str, outcomes: tuple[str, ...]) -> None:
    registry = CollectorRegistry()
    metrics = AuthMetrics(registry)
    assert [registry.get_sample_value(name, {"outcome": outcome}) for outcome in outcomes] == [0] * len(outcomes)
    metrics.count_login("failed")
    metrics.count_refresh("reused")
    assert registry.get_sample_value(name, {"outcome": "failed" if "logins" in name else "reused"}) == 1
