"""The command line reports an error in one sentence and with an exit code."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedded_stack import Stack, StackError, cli
from embedded_stack.configuration import MEMBER_PORTS, PORT_OFFSETS, PORTS, RESERVATION, reserved_port_offset
from embedded_stack.fetch.cache import entry
from support.stack_commands import StackCommands


@pytest.fixture(autouse=True)
def offset(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A reserved port offset, in the environment of the commands."""
    with reserved_port_offset() as offset:
        monkeypatch.setenv("TANDEM_PORT_OFFSET", str(offset))
        yield offset


def run(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return StackCommands(state, int(os.environ["TANDEM_PORT_OFFSET"])).run(*arguments, **environment)


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


@pytest.mark.integration
def test_port_in_use_is_named_with_its_component(tmp_path: Path, offset: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", PORTS["mail-http"] + offset))
        taken.listen()
        done = run("start", "mail", state=tmp_path)
    assert_one_sentence(done, str(PORTS["mail-http"] + offset), "mail", "TANDEM_PORT_OFFSET")


def test_port_offsets_share_no_port_and_avoid_ephemeral_ports() -> None:
    ports = [
        port + offset for offset in PORT_OFFSETS for port in (RESERVATION, *PORTS.values(), *MEMBER_PORTS.values())
    ]
    assert len(PORT_OFFSETS) > 10
    assert len(set(ports)) == len(ports)
    assert max(ports) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


@pytest.mark.integration
def test_machine_without_apt_and_mysqld_is_referred_to_docker(tmp_path: Path) -> None:
    done = run("fetch", state=tmp_path, PATH="/nonexistent", TANDEM_CACHE_DIR=str(tmp_path / "cache"))
    assert_one_sentence(done, "mysqld", "docker compose up")


@pytest.mark.integration
def test_missing_network_is_one_sentence(tmp_path: Path) -> None:
    done = run(
        "start",
        "mongo",
        state=tmp_path,
        TANDEM_CACHE_DIR=str(tmp_path / "cache"),
        MYSQL_ROOT_URL="mysql://root@127.0.0.1:1/",
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="0",
        PIP_FIND_LINKS="",
    )
    assert_one_sentence(done, "network")


@pytest.mark.integration
def test_invalid_setting_is_named(tmp_path: Path) -> None:
    done = run("status", state=tmp_path, TANDEM_PORT_OFFSET="many")
    assert_one_sentence(done, "TANDEM_PORT_OFFSET")


@pytest.mark.integration
def test_unknown_component_is_an_error_with_the_known_ones(tmp_path: Path) -> None:
    assert_one_sentence(run("start", "postgres", state=tmp_path), "postgres", "mysql")


def test_full_cache_is_an_error_before_any_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=7 * 1024**2))
    with pytest.raises(StackError, match="7 MB left"):
        entry(tmp_path, "thing", lambda _folder: pytest.fail("it was downloaded"))


def test_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(_stack: Stack) -> None:
        with Path("/dev/full").open("w") as disk:
            disk.write("x")

    monkeypatch.setattr(Stack, "fetch", fill_up)
    monkeypatch.setattr(sys, "argv", ["embedded-stack", "fetch"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert str(ended.value).startswith("error: No space left on device")


@pytest.mark.integration
def test_error_of_a_component_that_dies_at_its_start_has_the_end_of_its_log(tmp_path: Path) -> None:
    data = tmp_path / "data" / "mongo"
    data.mkdir(parents=True)
    (data / "WiredTiger.wt").write_text("not a database")
    (data / "WiredTiger.turtle").write_text("neither")
    done = run("start", "mongo", state=tmp_path)
    assert_one_sentence(done, "mongo", "ended", "mongo.log", "WiredTiger")


@pytest.mark.integration
def test_status_shows_each_component_and_addresses_are_private(tmp_path: Path, offset: int) -> None:
    try:
        assert run("start", "mail", state=tmp_path).returncode == 0
        status = run("status", state=tmp_path)
        assert status.returncode == 1, "some components do not run"
        lines = {line.split()[0]: line.split()[1] for line in status.stdout.splitlines()}
        assert lines["mail"] == "running"
        assert lines["mysql"] == "stopped"
        os.kill(int((tmp_path / "run" / "mail.pid").read_text()), signal.SIGKILL)
        (dead,) = (line for line in run("status", state=tmp_path).stdout.splitlines() if line.startswith("mail "))
        settings = f"TANDEM_STATE_DIR={tmp_path} TANDEM_PORT_OFFSET={offset}"
        assert dead.split(maxsplit=2)[1:] == ["dead", f"see `{settings} make logs NAME=mail`"]
        env = tmp_path / "env"
        assert env.stat().st_mode & 0o777 == 0o600
        keys = {line.partition("=")[0] for line in env.read_text().splitlines()}
        assert keys >= {
            *("GATEWAY_URL", "AUTH_URL", "TWEET_URL", "SYNC_URL", "CONNECT_URL", "KAFKA_BOOTSTRAP_SERVERS"),
            *("MYSQL_ROOT_URL", "MYSQL_URL", "MONGODB_URL", "MAIL_URL"),
        }
    finally:
        run("down", state=tmp_path)
    assert "running" not in run("status", state=tmp_path).stdout


@pytest.fixture
def supervisor(tmp_path: Path) -> subprocess.Popen[str]:
    """A supervisor in the foreground that starts a whole stack."""
    return subprocess.Popen(
        [sys.executable, "-m", "embedded_stack.cli", "run"],
        env={
            **os.environ,
            "TANDEM_STATE_DIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.integration
def test_sigterm_while_starting_stops_everything(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    deadline = time.monotonic() + 120
    while not (run_folder / "mysql.pid").exists():
        assert time.monotonic() < deadline
        assert supervisor.poll() is None, supervisor.communicate()[0]
        time.sleep(0.05)
    second = run("run", state=tmp_path)
    assert_one_sentence(second, "already running", str(supervisor.pid))
    supervisor.send_signal(signal.SIGTERM)
    output, _ = supervisor.communicate(timeout=180)
    assert supervisor.returncode == 0, output
    assert "Traceback" not in output
    assert list(run_folder.glob("*.pid")) == [run_folder / "supervisor.pid"]
