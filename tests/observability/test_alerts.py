"""The alerts are valid, fire when they are to and not before, and say what they mean."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded_stack import Stack
from observability.prometheus import ALERTS, FOLDER, JOBS, PAGE, promtool
from support.manifests import compose_file

CONFIGURATION = FOLDER / "prometheus"


def test_configuration_and_rules_are_valid(stack: Stack) -> None:
    promtool(stack.configuration.cache, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    promtool(stack.configuration.cache, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


def test_configuration_for_kubernetes_is_valid(stack: Stack, tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(shown)
    promtool(stack.configuration.cache, "check", "config", "--lint=all", "--lint-fatal", f"{tmp_path}/prometheus.yml")


def test_alerts_fire_and_stay_silent(stack: Stack) -> None:
    promtool(stack.configuration.cache, "test", "rules", "alerts.test.yml")


def test_every_alert_is_tested_firing_and_silent() -> None:
    tries = [
        (each["alertname"], bool(each["exp_alerts"]))
        for test in yaml.safe_load((CONFIGURATION / "alerts.test.yml").read_text())["tests"]
        for each in test["alert_rule_test"]
    ]
    assert {*tries} == {(alert["alert"], fires) for alert in ALERTS for fires in (True, False)}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_has_a_description(alert: dict[str, Any]) -> None:
    assert alert["for"]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    # That the page has such a section is tested with the documents.
    assert {"summary", "description", "runbook_url"} == alert["annotations"].keys()


def test_every_service_is_scraped_at_its_address() -> None:
    """The container's address and port, by the names of docker-compose.yml."""
    compose = compose_file()["services"]
    asked = {
        scraped["job_name"]: scraped["static_configs"][0]["targets"]
        for scraped in yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())["scrape_configs"]
    }
    ports = {"auth": 8001, "tweet": 8002, "sync": 8003, "registrar": 8004}
    assert asked == {job: [f"{job}:{ports[job]}"] for job in JOBS}
    for job in JOBS:
        assert set(compose["prometheus"]["networks"]) & set(compose[job]["networks"]), job
