"""What docker-compose.yml says of Prometheus and Grafana. (Neither image runs in the tests.)"""

from pathlib import Path

import pytest
import yaml

from observability.prometheus import FOLDER
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
    image, _, version = watcher["image"].partition(":")
    assert image
    assert version.count(".") == 2, "pinned to the last digit"
    assert watcher["healthcheck"]["test"]
    assert watcher["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


@pytest.mark.parametrize("name", WATCHERS)
def test_monitoring_reaches_no_store(services: Manifest, name: str) -> None:
    networks = set(services[name]["networks"])
    for store in STORES:
        assert not networks & set(services[store].get("networks", ["default"])), store


@pytest.mark.parametrize("name", WATCHERS)
def test_mounted_files_exist(services: Manifest, name: str) -> None:
    mounted = [volume.split(":") for volume in services[name]["volumes"] if volume.startswith("./")]
    assert mounted
    for source, _, mode in mounted:
        assert (ROOT / source).is_dir()
        assert mode == "ro"


def test_grafana_is_provisioned_with_dashboard_and_prometheus(services: Manifest) -> None:
    targets = dict(reversed(volume.split(":")[:2]) for volume in services["grafana"]["volumes"])
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tandem.yml").read_text())["providers"]
    folder = ROOT / targets[provider["options"]["path"]]
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert [file.name for file in folder.iterdir()] == [home.name]
    assert str(home.parent) == provider["options"]["path"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    scraping = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraping
