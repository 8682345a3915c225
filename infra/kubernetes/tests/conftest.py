"""The rendered overlays, and docker-compose.yml."""

import pytest
import yaml

from support.manifests import ROOT, Cluster, Manifest, render


@pytest.fixture(scope="session")
def example() -> Cluster:
    return render("example")


@pytest.fixture(scope="session")
def strimzi() -> Cluster:
    return render("example-strimzi")


@pytest.fixture(params=["example", "strimzi"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    rendered: Cluster = request.getfixturevalue(request.param)
    return rendered


@pytest.fixture(scope="session")
def compose() -> Manifest:
    read: Manifest = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read
