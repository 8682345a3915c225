"""wrk and its script against a small server with single-use tokens."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import psutil
import pytest

from benchmarks.load import LoadGenerator, Request
from benchmarks.server import Server
from embedded_stack import StackConfiguration

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are threads of this process, which is never idle: the components of its stack are its children."""
    monkeypatch.setattr("benchmarks.load.IDLE_WITHIN_SECONDS", 0)


class _StrictServer(ThreadingHTTPServer):
    """`POST /exchange` accepts each token once and returns its successor; `GET` requires a bearer token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.valid = {f"first-{number}" for number in range(8)}
        self.numbers = count()
        self.paths: set[str] = set()
        self.bearer = "Bearer mine"

    @property
    def measured(self) -> Server:
        return Server(f"http://127.0.0.1:{self.server_port}", psutil.Process())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _StrictServer

    def do_GET(self) -> None:
        self.server.paths.add(self.path)
        self._answer(200 if self.headers["Authorization"] == self.server.bearer else 401, {"title": 'not "yours"'})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = body["token"] in self.server.valid
        self.server.valid.discard(body["token"])
        successor = f"next-{next(self.server.numbers)}"
        self.server.valid.add(successor)
        self._answer(200 if known else 401, {"token": successor})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""

    def _answer(self, status: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _running() -> Iterator[_StrictServer]:
    with _StrictServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[_StrictServer]:
    with _running() as server:
        yield server


@pytest.fixture
def wrk(tmp_path: Path) -> LoadGenerator:
    return LoadGenerator.find(StackConfiguration().cache, tmp_path)


def test_requests_are_sent_in_turn(server: _StrictServer, wrk: LoadGenerator) -> None:
    requests = [Request("GET", f"/{number}", bearer="mine") for number in range(5)]
    measured = wrk.run([server.measured], requests, seconds=1, connections=2)
    assert measured.errors == 0
    assert measured.per_second > 10
    assert 0 < measured.p50_ms <= measured.p99_ms
    assert server.paths == {f"/{number}" for number in range(5)}


def test_responses_other_than_2xx_are_errors_and_the_first_is_quoted(server: _StrictServer, wrk: LoadGenerator) -> None:
    measured = wrk.run([server.measured], [Request("GET", "/", bearer="x")], seconds=1, connections=2)
    assert measured.errors > 10
    assert 'the first: 401 {"title": "not \\"yours\\""}' in measured.complaint


def test_each_token_is_used_once_and_its_successor_next(server: _StrictServer, wrk: LoadGenerator) -> None:
    requests = [Request("POST", "/exchange", body={"token": f"first-{number}"}) for number in range(8)]
    measured = wrk.run([server.measured], requests, seconds=1, connections=4, successor="token")
    assert measured.errors == 0
    assert measured.per_second > 10


def test_servers_share_connections_and_begin_at_different_requests(server: _StrictServer, wrk: LoadGenerator) -> None:
    with _running() as other:
        requests = [Request("GET", f"/{number}", bearer="mine") for number in range(100_000)]
        measured = wrk.run([server.measured, other.measured], requests, seconds=1, connections=2)
    assert measured.errors == 0
    assert {"/1", "/2"} <= server.paths
    assert {"/50001", "/50002"} <= other.paths
    assert not server.paths & other.paths


def test_errors_of_every_server_are_counted(server: _StrictServer, wrk: LoadGenerator) -> None:
    with _running() as other:
        other.bearer = "Bearer yours"
        measured = wrk.run(
            [server.measured, other.measured], [Request("GET", "/", bearer="mine")], seconds=1, connections=2
        )
    assert measured.errors > 10
