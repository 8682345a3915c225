"""What the registrar's metrics say of what it sees."""

import math

import pytest
from prometheus_client import CollectorRegistry

from registrar.metrics import RegistrarMetrics
from registrar.observation import Observation

CONNECTOR = "mysql-users"
TOPIC = "cdc.mysql.auth.users"


class Seen:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = RegistrarMetrics(self.registry, [CONNECTOR], [TOPIC])

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def states(self, name: str) -> dict[str, float]:
        """Those that are not 0."""
        return {
            sample.labels["state"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and sample.value
        }


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_before_the_first_look_nothing_is_known_and_everything_is_there(seen: Seen) -> None:
    assert seen.states("registrar_connector_state") == {"UNKNOWN": 1}
    assert seen.states("registrar_connector_tasks") == {}
    assert seen.value("registrar_connector_healthy", connector=CONNECTOR) == 0
    assert seen.value("registrar_connector_tasks", connector=CONNECTOR, state="FAILED") == 0
    assert seen.value("registrar_repairs_total", connector=CONNECTOR, action="restart") == 0
    assert seen.value("registrar_failed_looks_total") == 0


def test_state_is_one_of_all_and_tasks_are_counted(seen: Seen) -> None:
    seen.metrics.set_connector(
        CONNECTOR, Observation({}, "RUNNING", ("RUNNING", "FAILED", "FAILED"), 1.5), healthy=False
    )
    assert seen.states("registrar_connector_state") == {"RUNNING": 1}
    assert seen.states("registrar_connector_tasks") == {"RUNNING": 1, "FAILED": 2}
    assert seen.value("registrar_heartbeat_age_seconds", connector=CONNECTOR) == 1.5

    seen.metrics.set_connector(CONNECTOR, Observation({}, "RUNNING", ("RUNNING",), 0.5), healthy=True)
    assert seen.states("registrar_connector_tasks") == {"RUNNING": 1}
    assert seen.value("registrar_connector_healthy", connector=CONNECTOR) == 1


def test_connector_that_is_not_registered_is_absent(seen: Seen) -> None:
    seen.metrics.set_connector(CONNECTOR, Observation(config=None), healthy=False)
    assert seen.states("registrar_connector_state") == {"ABSENT": 1}


def test_after_a_look_that_failed_nothing_is_known_any_more(seen: Seen) -> None:
    seen.metrics.set_connector(CONNECTOR, Observation({}, "RUNNING", ("RUNNING",), 0.5), healthy=True)
    seen.metrics.set_connectors_unknown()
    assert seen.states("registrar_connector_state") == {"UNKNOWN": 1}
    assert seen.states("registrar_connector_tasks") == {}
    assert seen.value("registrar_connector_healthy", connector=CONNECTOR) == 0


def test_topic_is_healthy_if_it_is_known_to_have_no_problem(seen: Seen) -> None:
    def healthy() -> float | None:
        return seen.value("registrar_topic_healthy", topic=TOPIC)

    assert math.isnan(healthy() or 0)
    seen.metrics.set_topics({})
    assert healthy() == 1
    seen.metrics.set_topics({TOPIC: "is missing"})
    assert healthy() == 0
    seen.metrics.set_topics_unknown()
    assert math.isnan(healthy() or 0)


def test_word_of_a_later_connect_is_told_and_forgotten(seen: Seen) -> None:
    seen.metrics.set_connector(CONNECTOR, Observation({}, "DREAMING", ("DREAMING",)), healthy=False)
    assert seen.states("registrar_connector_state") == {"DREAMING": 1}
    seen.metrics.set_connector(CONNECTOR, Observation({}, "RUNNING", ("RUNNING",)), healthy=True)
    assert seen.states("registrar_connector_state") == {"RUNNING": 1}
    assert seen.states("registrar_connector_tasks") == {"RUNNING": 1}
