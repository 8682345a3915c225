"""The registrar's metrics follow the states of connectors and topics."""

import math

import pytest
from prometheus_client import CollectorRegistry

from registrar.metrics import RegistrarMetrics
from registrar.state import ConnectorState

CONNECTOR = "mysql-users"
TOPIC = "cdc.mysql.auth.users"


class Exported:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = RegistrarMetrics(self.registry, [CONNECTOR], [TOPIC])

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def states(self, name: str) -> dict[str, float]:
        """The states whose value is not 0."""
        return {
            sample.labels["state"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and sample.value
        }


@pytest.fixture
def exported() -> Exported:
    return Exported()


def test_all_series_exist_before_the_first_poll(exported: Exported) -> None:
    assert exported.states("registrar_connector_state") == {"UNKNOWN": 1}
    assert exported.states("registrar_connector_tasks") == {}
    assert exported.value("registrar_connector_healthy", connector=CONNECTOR) == 0
    assert exported.value("registrar_connector_tasks", connector=CONNECTOR, state="FAILED") == 0
    assert exported.value("registrar_repairs_total", connector=CONNECTOR, action="restart") == 0
    assert exported.value("registrar_failed_looks_total") == 0


def test_state_is_one_of_all_and_tasks_are_counted(exported: Exported) -> None:
    exported.metrics.set_connector(
        CONNECTOR, ConnectorState({}, "RUNNING", ("RUNNING", "FAILED", "FAILED"), 1.5), healthy=False
    )
    assert exported.states("registrar_connector_state") == {"RUNNING": 1}
    assert exported.states("registrar_connector_tasks") == {"RUNNING": 1, "FAILED": 2}
    assert exported.value("registrar_heartbeat_age_seconds", connector=CONNECTOR) == 1.5

    exported.metrics.set_connector(CONNECTOR, ConnectorState({}, "RUNNING", ("RUNNING",), 0.5), healthy=True)
    assert exported.states("registrar_connector_tasks") == {"RUNNING": 1}
    assert exported.value("registrar_connector_healthy", connector=CONNECTOR) == 1


def test_connector_that_is_not_registered_is_absent(exported: Exported) -> None:
    exported.metrics.set_connector(CONNECTOR, ConnectorState(config=None), healthy=False)
    assert exported.states("registrar_connector_state") == {"ABSENT": 1}


def test_states_are_unknown_after_a_failed_poll(exported: Exported) -> None:
    exported.metrics.set_connector(CONNECTOR, ConnectorState({}, "RUNNING", ("RUNNING",), 0.5), healthy=True)
    exported.metrics.set_connectors_unknown()
    assert exported.states("registrar_connector_state") == {"UNKNOWN": 1}
    assert exported.states("registrar_connector_tasks") == {}
    assert exported.value("registrar_connector_healthy", connector=CONNECTOR) == 0


def test_topic_is_healthy_without_a_problem_and_unknown_without_a_broker(exported: Exported) -> None:
    def healthy() -> float | None:
        return exported.value("registrar_topic_healthy", topic=TOPIC)

    assert math.isnan(healthy() or 0)
    exported.metrics.set_topics({})
    assert healthy() == 1
    exported.metrics.set_topics({TOPIC: "is missing"})
    assert healthy() == 0
    exported.metrics.set_topics_unknown()
    assert math.isnan(healthy() or 0)


def test_state_of_a_later_connect_is_exported_while_it_lasts(exported: Exported) -> None:
    exported.metrics.set_connector(CONNECTOR, ConnectorState({}, "DREAMING", ("DREAMING",)), healthy=False)
    assert exported.states("registrar_connector_state") == {"DREAMING": 1}
    exported.metrics.set_connector(CONNECTOR, ConnectorState({}, "RUNNING", ("RUNNING",)), healthy=True)
    assert exported.states("registrar_connector_state") == {"RUNNING": 1}
    assert exported.states("registrar_connector_tasks") == {"RUNNING": 1}
