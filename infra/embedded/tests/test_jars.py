"""Downloads of Kafka and Debezium from a Maven repository: each jar is complete and has the locked hash."""

import hashlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from embedded_stack import Stack, StackConfiguration, StackError
from embedded_stack.configuration import REPOSITORY
from embedded_stack.fetch import jars
from embedded_stack.fetch.jars import Jar, jars_folder, locked_jars
from service_kit.retry import Backoff
from support.dockerfiles import stage
from support.stack_commands import StackCommands


@dataclass
class MavenRepository:
    """A local mirror with the jars that a test adds."""

    files: dict[str, bytes] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)
    cut_off: set[str] = field(default_factory=set)
    stalls: threading.Event | None = None
    outage: float | None = None
    first_request: float | None = None
    address: str = ""

    def add(self, jar: Jar, content: bytes) -> None:
        self.files[jar.file_name] = content

    @property
    def is_out(self) -> bool:
        """It answers 503 for `outage` seconds from the first request on."""
        if self.outage is None:
            return False
        now = time.monotonic()
        self.first_request = self.first_request or now
        return now < self.first_request + self.outage

    @property
    def requested_jars(self) -> list[str]:
        return sorted(name for name in self.requested if name.endswith(".jar"))


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, repository: MavenRepository, *arguments: object) -> None:
        self.repository = repository
        super().__init__(*arguments)  # type: ignore[arg-type]  # what the server passes

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.repository.requested.append(name)
        content = self.repository.files.get(name)
        if self.repository.is_out:
            self.send_error(503)
            return
        if content is None:
            self.send_error(404)
            return
        if self.repository.stalls is not None:
            self.repository.stalls.wait(60)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name in self.repository.cut_off else content)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def repository() -> Iterator[MavenRepository]:
    repository = MavenRepository()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, repository)) as server:
        repository.address = f"http://127.0.0.1:{server.server_port}/maven2/"
        threading.Thread(target=server.serve_forever).start()
        yield repository
        if repository.stalls is not None:
            repository.stalls.set()
        server.shutdown()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: MavenRepository) -> list[Jar]:
    """A lock file of four jars, which the repository has."""
    locked = []
    for number in range(4):
        content = f"content of jar {number}".encode() * 1000
        jar = Jar("org.example", f"thing-{number}", "1.0", hashlib.sha256(content).hexdigest())
        repository.add(jar, content)
        locked.append(jar)
    (tmp_path / "few.lock").write_text("# a comment\n" + "".join(f"{jar}\n" for jar in locked))
    monkeypatch.setattr(jars, "LOCKS", tmp_path)
    return locked


@pytest.fixture
def _without_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_BACKOFF", Backoff(initial=0, maximum=0))


def test_download_is_retried_in_a_short_outage(tmp_path: Path, repository: MavenRepository, few: list[Jar]) -> None:
    repository.outage = 1
    folder = jars_folder(tmp_path / "cache", "few", repository.address)
    assert sorted(file.name for file in folder.iterdir()) == [jar.file_name for jar in few]


def test_jars_are_downloaded_once(tmp_path: Path, repository: MavenRepository, few: list[Jar]) -> None:
    for _ in range(2):
        folder = jars_folder(tmp_path / "cache", "few", repository.address)
    assert sorted(file.name for file in folder.iterdir()) == [jar.file_name for jar in few]
    assert repository.requested_jars == [jar.file_name for jar in few]


@pytest.mark.usefixtures("_without_delays")
def test_jar_with_another_hash_is_an_error(tmp_path: Path, repository: MavenRepository, few: list[Jar]) -> None:
    repository.add(few[1], b"something else")
    with pytest.raises(StackError) as refused:
        jars_folder(tmp_path / "cache", "few", repository.address)
    for word in ("org.example:thing-1:1.0", few[1].sha256, hashlib.sha256(b"something else").hexdigest()):
        assert word in str(refused.value)
    assert not list((tmp_path / "cache").rglob("*thing-1*"))


@pytest.mark.usefixtures("_without_delays")
def test_interrupted_download_is_continued(tmp_path: Path, repository: MavenRepository, few: list[Jar]) -> None:
    repository.cut_off = {few[2].file_name}
    with pytest.raises(
        StackError, match=r"org\.example:thing-2:1\.0.* network.* same command.*TANDEM_MAVEN_REPOSITORY"
    ):
        jars_folder(tmp_path / "cache", "few", repository.address)
    (folder,) = (entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir())
    # As left by a process that was killed during a download.
    (folder / "download-killed" / "org").mkdir(parents=True)
    missing = [jar.file_name for jar in few if not (folder / jar.file_name).exists()]
    assert few[2].file_name in missing
    repository.cut_off.clear()
    repository.requested.clear()
    assert jars_folder(tmp_path / "cache", "few", repository.address) == folder
    assert repository.requested_jars == missing
    assert sorted(file.name for file in folder.iterdir()) == [jar.file_name for jar in few]


def test_changed_lock_has_another_folder(tmp_path: Path, repository: MavenRepository, few: list[Jar]) -> None:
    folder = jars_folder(tmp_path / "cache", "few", repository.address)
    (tmp_path / "few.lock").write_text(f"{few[0]}\n")
    assert jars_folder(tmp_path / "cache", "few", repository.address) != folder


@pytest.fixture
def mirror_of_all(repository: MavenRepository) -> MavenRepository:
    """With the jars of Kafka and Connect from this machine's cache."""
    folder = jars_folder(StackConfiguration().cache, "kafka", StackConfiguration().maven_repository)
    for jar in locked_jars("kafka"):
        repository.add(jar, (folder / jar.file_name).read_bytes())
    return repository


@pytest.mark.integration
def test_mirror_replaces_maven_central(
    tmp_path: Path, mirror_of_all: MavenRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_MAVEN_REPOSITORY", mirror_of_all.address)
    configuration = StackConfiguration(state_dir=tmp_path / "state")
    folder = jars_folder(tmp_path / "cache", "kafka", configuration.maven_repository)
    assert {file.name for file in folder.iterdir()} == {jar.file_name for jar in locked_jars("kafka")}
    assert mirror_of_all.requested_jars == sorted(jar.file_name for jar in locked_jars("kafka"))


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_error_of_an_interrupted_download_has_a_remedy(
    tmp_path: Path, mirror_of_all: MavenRepository, stack: Stack
) -> None:
    stack.fetch()
    cache = tmp_path / "cache"
    cache.mkdir()
    for entry in stack.configuration.cache.iterdir():
        if not entry.name.startswith("kafka-"):
            (cache / entry.name).symlink_to(entry)
    mirror_of_all.stalls = threading.Event()
    commands = StackCommands(tmp_path / "state", 0)
    with subprocess.Popen(
        commands.command("fetch"),
        env={
            **commands.environment,
            "TANDEM_CACHE_DIR": str(cache),
            "TANDEM_MAVEN_REPOSITORY": mirror_of_all.address,
        },
        stderr=subprocess.PIPE,
        text=True,
        # A shell makes the processes of a background job ignore SIGINT.
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as fetch:
        deadline = time.monotonic() + 120
        while not mirror_of_all.requested_jars:
            assert fetch.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        fetch.send_signal(signal.SIGINT)
        mirror_of_all.stalls.set()
        _, errors = fetch.communicate(timeout=180)
    assert fetch.returncode == 1
    assert errors.startswith("error: The download was interrupted.")
    assert "the same command" in errors


def test_versions_are_those_of_the_containers() -> None:
    for name, artifacts in (
        ("kafka", ("kafka_2.13", "kafka-clients", "connect-runtime")),
        ("connectors", ("debezium-connector-mysql", "debezium-connector-mongodb")),
    ):
        (version,) = {jar.version for jar in locked_jars(name) if jar.artifact in artifacts}
        image = stage("connect" if name == "connectors" else name).base
        assert image.rpartition(":")[2] == version
        declared = (REPOSITORY / "infra" / "embedded" / "jars" / f"{name}.xml").read_text()
        assert f".version>{version}</" in declared
