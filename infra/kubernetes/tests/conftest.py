"""The rendered overlays, and docker-compose.yml."""

import pytest

from support.manifests import Cluster, Manifest, compose_file, render


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
    return compose_file()
