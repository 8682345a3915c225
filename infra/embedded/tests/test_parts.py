import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedded_stack import Stack, StackConfiguration, StackError
from embedded_stack.configuration import MEMBER_PORTS, NO_ROUTES, PACKAGED_ROUTES, PORTS
from embedded_stack.credentials import Credentials, write_private
from embedded_stack.fetch.cache import entry
from embedded_stack.fetch.debian import mirror
from embedded_stack.log_lines import LogFollower, notable
from embedded_stack.topology import SINGLE, Topology

REPLICATED = Topology(mysql=2, mongo=3, kafka=3, connect=2)


@pytest.mark.parametrize("topology", [SINGLE, REPLICATED], ids=["single", "replicated"])
def test_components_are_listed_after_their_dependencies(tmp_path: Path, topology: Topology) -> None:
    seen: set[str] = set()
    for name, component in Stack(StackConfiguration(state_dir=tmp_path), topology=topology).components.items():
        assert set(component.depends_on) <= seen
        seen.add(name)


def test_registrars_of_two_stacks_have_other_names_at_one_kafka_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would delete each other's connectors."""
    assert StackConfiguration(state_dir=tmp_path).name_of_registrar == "tandem"
    monkeypatch.setenv("CONNECT_URL", "http://192.0.2.1:8083")
    first, second = (StackConfiguration(state_dir=tmp_path / name).name_of_registrar for name in ("a", "b"))
    assert first != second
    assert first == StackConfiguration(state_dir=tmp_path / "a").name_of_registrar
    monkeypatch.setenv("REGISTRAR_NAME", "ours")
    assert StackConfiguration(state_dir=tmp_path / "a").name_of_registrar == "ours"


MYSQL, MONGODB = "mysql://sync:p%26@db.example:3306/tandem", "mongodb://sync:p@127.0.0.1:27117/tandem?a=1&b=2"


@pytest.fixture
def sync_only(monkeypatch: pytest.MonkeyPatch) -> StackConfiguration:
    """As `make run STACK=sync-only` has it, with the variables of the databases."""
    for name in ("MYSQL_ROOT_URL", "KAFKA_BOOTSTRAP_SERVERS", "CONNECT_URL", "TANDEM_STATE_DIR", "SYNC_ROUTES_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "TANDEM_STACK": "sync-only",
        "MYSQL_URL": MYSQL,
        "MONGODB_URL": MONGODB,
        "CDC_MYSQL_HOST": "db.example",
    }.items():
        monkeypatch.setenv(name, value)
    return StackConfiguration()


def test_sync_only_has_the_components_between_databases_of_others(
    sync_only: StackConfiguration, tmp_path: Path
) -> None:
    stack = Stack(sync_only.model_copy(update={"state_dir": tmp_path}))
    assert list(stack.components) == ["kafka", "connect", "registrar", "sync", "gateway"]
    assert all(set(each.depends_on) <= stack.components.keys() for each in stack.components.values())
    stack.seed_routes()
    assert stack.configuration.routes.read_bytes() == NO_ROUTES.read_bytes()
    settings = stack.components["sync"].command().environment
    assert (settings["MYSQL_URL"], settings["MONGODB_URL"]) == (MYSQL, MONGODB)
    assert "AUTH_JWKS_URL" not in settings
    token = settings["SYNC_OPERATOR_TOKEN"]
    assert len(token) >= 32
    assert Stack(stack.configuration).addresses["SYNC_OPERATOR_TOKEN"] == token
    assert stack.components["registrar"].command().environment["CDC_MYSQL_HOST"] == "db.example"


def test_sync_only_is_beside_the_whole_stack(sync_only: StackConfiguration) -> None:
    full = StackConfiguration(kind="full")
    assert (full.state.name, sync_only.state.name) == (".stack", ".stack-sync-only")
    assert sync_only.command("make down") == "make down STACK=sync-only"
    assert full.command("make down") == "make down"


def test_sync_only_without_databases_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MYSQL_URL", raising=False)
    monkeypatch.setenv("MONGODB_URL", "")
    stack = Stack(StackConfiguration(state_dir=tmp_path, kind="sync-only"))
    with pytest.raises(StackError, match=r"MYSQL_URL and MONGODB_URL .* must be set: docs/your-own-databases.md"):
        stack.components["sync"].check()


def test_topology_has_further_members_with_ports_of_their_own(tmp_path: Path) -> None:
    stack = Stack(StackConfiguration(state_dir=tmp_path, port_offset=500), topology=REPLICATED)
    further = {"mysql-1", "mysql-2", "mongo-2", "mongo-3", "kafka-2", "kafka-3", "connect-2"}
    assert stack.components.keys() - Stack(StackConfiguration(state_dir=tmp_path)).components.keys() == further
    ports = [port for component in stack.components.values() for port in component.ports]
    assert sorted(ports) == sorted([*PORTS, *MEMBER_PORTS])
    assert stack.addresses["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:19592,127.0.0.1:19594,127.0.0.1:19596"
    hosts = "127.0.0.1:27617,127.0.0.1:27618,127.0.0.1:27620"
    assert stack.addresses["MONGODB_URL"] == f"mongodb://{hosts}/tweets?replicaSet=rs0"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sources.list", "# a comment\ndeb http://mirror.example/debian bookworm main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n"),
        ("sources.list", "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\n"),
    ],
)
def test_mirror_is_that_of_the_machine(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "another.list").write_text("deb https://elsewhere.example/apt stable main\n")
    (tmp_path / file).write_text(content)
    assert mirror(tmp_path) == "http://mirror.example/debian"


def test_machine_without_a_debian_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="docker compose up"):
        mirror(tmp_path)


def test_failed_cache_entry_is_filled_again_and_a_complete_one_is_kept(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise StackError("interrupted")

    with pytest.raises(StackError):
        entry(tmp_path, "thing", fail)
    assert not (tmp_path / "thing").exists()
    made = entry(tmp_path, "thing", lambda folder: (folder / "whole").touch())
    assert [file.name for file in made.iterdir()] == ["whole"]
    assert entry(tmp_path, "thing", fail) == made


def test_credentials_are_private_and_do_not_change(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    first = Credentials.load_or_create(file)
    assert Credentials.load_or_create(file) == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert len({first.mysql_root, first.mysql_auth_service, first.mysql_debezium}) == 3


def test_private_file_may_have_concurrent_writers(tmp_path: Path) -> None:
    file = tmp_path / "port-offset"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_private(file, f"{number}\n"), range(400)))
    assert 0 <= int(file.read_text()) < 400
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"event": "request", "method": "GET", "path": "/v1/tweets", "status": 200, "duration_ms": 2}, None),
        (
            {"event": "request", "method": "POST", "path": "/v1/tweets", "status": 201, "duration_ms": 7.5},
            "POST /v1/tweets → 201 in 7.5 ms",
        ),
        (
            {"event": "request", "method": "GET", "path": "/v1/tweets", "status": 503, "duration_ms": 9},
            "GET /v1/tweets → 503 in 9 ms",
        ),
        ({"event": "task restarted", "level": "warning", "connector": "c"}, "WARNING task restarted connector=c"),
        ({"event": "batch applied", "level": "info"}, None),
    ],
)
def test_writes_warnings_and_errors_are_notable(record: dict[str, object], shown: str | None) -> None:
    assert notable(json.dumps(record)) == shown


def test_lines_that_are_not_json_are_ignored() -> None:
    assert notable("Server ready for connections") is None


def test_follower_returns_complete_lines_once(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n")
    follower = LogFollower(log)
    with log.open("a") as out:
        out.write("new\nhalf")
        out.flush()
        assert follower.new_lines() == ["new"]
        out.write(" whole\n")
    assert follower.new_lines() == ["half whole"]
    assert follower.new_lines() == []


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("mysql://root:x@127.0.0.1:13806/", False),
        ("mysql://root:x@127.0.0.1:13306/", True),
        ("mysql://root:x@db.example.org:13806/", True),
    ],
)
def test_addresses_of_the_stack_itself_are_not_external(
    monkeypatch: pytest.MonkeyPatch, address: str, outside: bool
) -> None:
    monkeypatch.setenv("TANDEM_PORT_OFFSET", "500")
    monkeypatch.setenv("MYSQL_ROOT_URL", address)
    assert (StackConfiguration().outside_mysql is not None) is outside


@pytest.mark.parametrize("name", ["MYSQL_ROOT_URL", "MYSQL_URL", "MONGODB_URL"])
def test_external_address_is_a_secret_and_may_come_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("MYSQL_ROOT_URL", "MYSQL_URL", "MONGODB_URL"):
        monkeypatch.delenv(each, raising=False)
    file = tmp_path / "address"
    scheme = "mongodb" if name == "MONGODB_URL" else "mysql"
    file.write_text(f"{scheme}://ada:correct-horse@db.example.org:1234/\n")
    monkeypatch.setenv(name, "")
    monkeypatch.setenv(f"{name}_FILE", str(file))
    stack = Stack(StackConfiguration(state_dir=tmp_path))
    assert "correct-horse" not in repr(stack.configuration)
    component = stack.components["mongo" if name == "MONGODB_URL" else "mysql"]
    assert component.outside == "db.example.org:1234/"
    address = stack.addresses["MONGODB_URL" if name == "MONGODB_URL" else "MYSQL_ROOT_URL"]
    assert address == f"{scheme}://ada:correct-horse@db.example.org:1234/"


def test_empty_address_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("MYSQL_ROOT_URL", "MYSQL_URL", "MONGODB_URL", "KAFKA_BOOTSTRAP_SERVERS", "CONNECT_URL"):
        monkeypatch.setenv(each, "")
    configuration = StackConfiguration()
    assert configuration.mysql_root_url is None
    assert configuration.outside_mongodb is configuration.outside_kafka is configuration.outside_connect is None


def test_routes_are_in_the_state_folder_or_in_a_file_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNC_ROUTES_FILE", raising=False)
    stack = Stack(StackConfiguration(state_dir=tmp_path))
    live = tmp_path / "routes.yaml"
    assert (stack.configuration.routes, stack.addresses["SYNC_ROUTES_FILE"]) == (live, str(live))
    # As in a shell that has read `.stack/env`.
    monkeypatch.setenv("SYNC_ROUTES_FILE", str(live))
    assert StackConfiguration(state_dir=tmp_path).routes == live
    monkeypatch.setenv("SYNC_ROUTES_FILE", str(tmp_path / "mine.yaml"))
    assert StackConfiguration(state_dir=tmp_path).routes == tmp_path / "mine.yaml"
    stack.seed_routes()
    assert live.read_bytes() == PACKAGED_ROUTES.read_bytes()
    # A service of an earlier release reads it.
    live.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(stack.processes["sync"], "running", lambda: 1)
        stack.seed_routes()
        assert not live.exists()
    mine = Stack(StackConfiguration(state_dir=tmp_path / "other"))
    mine.seed_routes()
    assert not (tmp_path / "mine.yaml").exists()
