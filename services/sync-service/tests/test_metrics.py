"""The metrics before the first event."""

from prometheus_client import CollectorRegistry

from sync_service.metrics import SyncMetrics


def test_dead_letter_counters_start_at_zero_and_health_is_current() -> None:
    registry, problems = CollectorRegistry(), ["not prepared yet"]
    metrics = SyncMetrics(registry)
    metrics.begin(["users"])
    metrics.observe_health(lambda: problems[0] if problems else None)
    labels = {"route": "users", "operation": "-", "outcome": "dead-lettered"}
    assert registry.get_sample_value("sync_events_total", labels) == 0
    assert registry.get_sample_value("sync_retries_total", {"route": "users"}) == 0
    assert registry.get_sample_value("sync_healthy") == 0
    problems.clear()
    assert registry.get_sample_value("sync_healthy") == 1


def test_series_of_a_removed_route_are_deleted() -> None:
    registry = CollectorRegistry()
    metrics = SyncMetrics(registry)
    metrics.begin(["users", "tweets"])
    metrics.lag.labels("users").set(3)
    metrics.end("users")
    routes = {sample.labels.get("route") for metric in registry.collect() for sample in metric.samples}
    assert routes == {None, "tweets"}
