"""The containers of Prometheus and Grafana. (Neither image runs in the tests.)"""

from pathlib import Path

import pytest
import yaml

from observability.prometheus import FOLDER
from support.dockerfiles import stage
from support.manifests import ROOT, Manifest, compose_file

WATCHERS = ("prometheus", "grafana")
STORES = ("mysql", "mongo", "kafka", "connect")


@pytest.fixture(scope="module")
def services() -> Manifest:
    read: Manifest = compose_file()["services"]
    return read


@pytest.mark.parametrize("name", WATCHERS)
def test_monitoring_is_optional_and_bound_to_loopback(services: Manifest, name: str) -> None:
    watcher = services[name]
    assert watcher["profiles"] == ["observability"]
    assert all(port.startswith("127.0.0.1:") for port in watcher["ports"])
    assert watcher["healthcheck"]["test"]


@pytest.mark.parametrize("name", WATCHERS)
def test_monitoring_reaches_no_store(services: Manifest, name: str) -> None:
    networks = set(services[name]["networks"])
    for store in STORES:
        assert not networks & set(services[store].get("networks", ["default"])), store


def test_prometheus_has_its_configuration_and_its_rules() -> None:
    copied = stage("prometheus").copied
    assert {Path(target).name for target in copied} == {"prometheus.yml", "alerts.yml"}
    assert {str(Path(target).parent) for target in copied} == {"/etc/prometheus"}


def test_grafana_is_provisioned_with_dashboard_and_prometheus(services: Manifest) -> None:
    copied = {target: ROOT / source for target, source in stage("grafana").copied.items()}
    # File by file, because a folder would replace those of the image.
    assert all(source.is_file() for source in copied.values())
    (provider,) = yaml.safe_load(copied["/etc/grafana/provisioning/dashboards/tandem.yml"].read_text())["providers"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in copied
    assert str(Path(home).parent) == provider["options"]["path"]
    file = copied["/etc/grafana/provisioning/datasources/prometheus.yml"]
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    scraping = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraping
