"""What is there before anything has happened."""

from prometheus_client import CollectorRegistry

from sync_service.metrics import SyncMetrics


def test_dead_letters_are_counted_from_zero_and_health_is_that_of_the_moment() -> None:
    registry, problems = CollectorRegistry(), ["not prepared yet"]
    SyncMetrics(registry).begin(["users"], lambda: problems[0] if problems else None)
    labels = {"route": "users", "operation": "-", "outcome": "dead-lettered"}
    assert registry.get_sample_value("sync_events_total", labels) == 0
    assert registry.get_sample_value("sync_retries_total", {"route": "users"}) == 0
    assert registry.get_sample_value("sync_healthy") == 0
    problems.clear()
    assert registry.get_sample_value("sync_healthy") == 1
