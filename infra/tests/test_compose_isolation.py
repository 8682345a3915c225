"""What the containers of docker-compose.yml may reach, write and do. (Docker does not run in the tests.)"""

import re
from collections.abc import Iterator
from itertools import combinations

import pytest
import yaml

from support.manifests import ROOT, Manifest, compose_file, services_of

COMPOSE = compose_file()
# With the profile `sync-only` other services run.
SERVICES: Manifest = {
    name: service for name, service in COMPOSE["services"].items() if service.get("profiles") != ["sync-only"]
}
SYNC_ONLY: Manifest = services_of("sync-only", COMPOSE)
ONE_SHOTS = {"mysql-init", "mongo-init", "topics"}
NETWORKS = {name: set(service.get("networks", ["default"])) for name, service in SERVICES.items()}

Edge = frozenset[str]

every_service = pytest.mark.parametrize("name", COMPOSE["services"])


def named_in(text: str) -> set[str]:
    """The services that a setting names: `mysql`, `mysql:3306`, `mysql://…@mysql:3306/…`."""
    value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return {name for name in SERVICES if name == value or re.search(rf"(?<![\w.-]){name}:\d", value)}


def targets(service: Manifest, variables: str = "") -> set[str]:
    """The services that its command and its variables name, of those that begin with `variables`."""
    settings = service.get("environment", {}).items()
    texts = [str(value) for key, value in settings if key.startswith(variables)]
    hosts = re.findall(r"--host[ =](\S+)", " ".join(service.get("command", [])))
    return set().union(*map(named_in, [*texts, *hosts]))


# `registrar topics` has the registrar's variables, and connects to Kafka only.
USED_VARIABLES = {"topics": "KAFKA_"}


def scraped() -> set[str]:
    settings = yaml.safe_load((ROOT / "infra/observability/prometheus/prometheus.yml").read_text())
    return {
        target.split(":")[0]
        for job in settings["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }


def edges() -> Iterator[Edge]:
    """Each pair of services of which one connects to the other."""
    for name, service in SERVICES.items():
        used = targets(service, USED_VARIABLES.get(name, ""))
        yield from (Edge((name, target)) for target in used if target != name)
    # Connect gets the addresses of its sources from the registrar.
    yield from (Edge(("connect", target)) for target in targets(SERVICES["registrar"], "CDC_"))
    yield from (Edge(("prometheus", target)) for target in scraped())
    grafana = (ROOT / "infra/observability/grafana/provisioning/datasources/prometheus.yml").read_text()
    assert "http://prometheus:9090" in grafana
    yield Edge(("grafana", "prometheus"))


EDGES = set(edges())
# Every client may send requests to these.
PUBLISHED = targets(SERVICES["gateway"])


def members(network: str) -> set[str]:
    return {name for name, networks in NETWORKS.items() if network in networks}


def reached(name: str) -> set[str]:
    """The other containers that stay, in its networks."""
    return set().union(*map(members, NETWORKS[name])) - {name} - ONE_SHOTS


# Sorted, because each process of a test run orders a set in its own way.
@pytest.mark.parametrize("edge", sorted(EDGES, key=sorted), ids=lambda edge: "-".join(sorted(edge)))
def test_container_shares_a_network_with_each_server_that_its_settings_name(edge: Edge) -> None:
    one, other = edge
    assert NETWORKS[one] & NETWORKS[other]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOTS))
def test_container_reaches_no_other(name: str) -> None:
    connected = {other for other in SERVICES if Edge((name, other)) in EDGES}
    if name in PUBLISHED:
        connected |= PUBLISHED - {name}
    assert reached(name) == connected - ONE_SHOTS


@pytest.mark.parametrize(
    ("server", "clients"),
    [
        ("mysql", {"auth", "sync", "connect", "registrar"}),
        ("mongo", {"tweet", "sync", "connect", "registrar"}),
        ("kafka", {"sync", "connect", "registrar"}),
        # Its interface reveals the passwords of its sources.
        ("connect", {"registrar", "mysql", "mongo", "kafka"}),
        ("mail", {"auth"}),
        ("gateway", {"auth", "tweet", "sync"}),
        ("grafana", {"prometheus"}),
    ],
)
def test_server_is_reached_from_its_clients_only(server: str, clients: set[str]) -> None:
    assert reached(server) == clients


@pytest.mark.parametrize(
    ("name", "connected"),
    [
        ("kafka", {"sync-only", "sync-only-registrar", "connect"}),
        ("connect", {"kafka", "sync-only-registrar"}),
        ("sync-only-registrar", {"kafka", "connect", "sync-only"}),
        ("sync-only", {"kafka", "sync-only-registrar", "sync-only-gateway"}),
        ("sync-only-gateway", {"sync-only"}),
    ],
)
def test_container_of_the_sync_alone_reaches_what_it_needs(name: str, connected: set[str]) -> None:
    """Its databases are outside."""
    networks = set(SYNC_ONLY[name]["networks"])
    others = {other for other, service in SYNC_ONLY.items() if networks & set(service["networks"])}
    assert others - {name} - ONE_SHOTS == connected


@pytest.mark.parametrize("name", sorted(ONE_SHOTS))
def test_one_shot_is_in_one_network_with_its_server(name: str) -> None:
    (network,) = NETWORKS[name]
    (edge,) = [edge for edge in EDGES if name in edge]
    assert edge == {name, network}


def test_no_network_has_a_member_that_it_does_not_need() -> None:
    for network in COMPOSE["networks"]:
        needed: set[str] = set()
        for pair in map(Edge, combinations(members(network), 2)):
            one, other = pair
            if pair in EDGES and NETWORKS[one] & NETWORKS[other] == {network}:
                needed |= pair
        assert members(network) == needed, network


@every_service
def test_container_names_its_networks(name: str) -> None:
    assert COMPOSE["services"][name]["networks"]
    assert "default" not in COMPOSE["services"][name]["networks"]


@every_service
def test_container_gets_no_privileges(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert not {"privileged", "pid", "network_mode", "devices", "ipc", "userns_mode"} & service.keys()
    assert ("cap_add" in service) == (name in {"mysql", "mongo"})


@pytest.mark.parametrize("name", ["mysql", "mongo"])
def test_store_has_the_capabilities_that_its_start_needs(name: str) -> None:
    # As root: chown of the volume, whose files only the server's user may read; `mv` in a folder with the sticky bit
    # (infra/first-start.sh); gosu.
    assert SERVICES[name]["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]


READ_ONLY = ["auth", "tweet", "sync", "registrar", "topics", "gateway", "mail", "prometheus"]


@pytest.mark.parametrize("name", [*READ_ONLY, *(name for name in SYNC_ONLY if name.startswith("sync-only"))])
def test_file_system_is_read_only_but_for_bounded_folders_in_memory(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    sizes = [re.search(r"size=(\d+)m", each) for each in service["tmpfs"]]
    assert all(sizes)
    # They count as memory of the container.
    memory = int(service["deploy"]["resources"]["limits"]["memory"].removesuffix("M"))
    assert sum(int(size[1]) for size in sizes if size) <= memory * 2 / 3
