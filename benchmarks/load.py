"""The load generator: wrk from PATH or from Debian, with one script for every case."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measurement import Measurement, MeasurementError
from benchmarks.server import Server
from embedded_stack import StackError
from embedded_stack.fetch.debian import DebianPackages, debian_prefix, is_debian_like

SCRIPT = Path(__file__).parent / "lua" / "requests.lua"
WRK = DebianPackages(name="debian-sid-wrk", title="wrk from Debian (10 MB)", packages=("wrk",))
_TIMEOUT_SECONDS = 10
IDLE_WITHIN_SECONDS = 10
# A server without CPU time for so long is idle.
_IDLE_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: Mapping[str, object] | None = None
    bearer: str = ""

    def line(self) -> str:
        """Return the format that the script reads."""
        authorization = f"Bearer {self.bearer}" if self.bearer else ""
        body = "" if self.body is None else json.dumps(self.body)
        return f"{self.method}\t{self.path}\t{authorization}\t{body}"


@dataclass(frozen=True)
class LoadGenerator:
    """`command` starts wrk; `folder` holds the files of requests."""

    command: Sequence[str]
    folder: Path

    @classmethod
    def find(cls, cache: Path, folder: Path) -> "LoadGenerator":
        """Return wrk from PATH, or from a Debian package in the cache. Raises `StackError`."""
        if on_path := shutil.which("wrk"):
            return cls([on_path], folder)
        if not is_debian_like():
            raise StackError(
                "wrk (the load generator) is not on PATH, and this machine is not Debian-like: install wrk."
            )
        return cls(debian_prefix(cache, WRK).command("usr/bin/wrk"), folder)

    def version(self) -> str:
        # `wrk --version` prints its usage and exits with 1.
        output = subprocess.run([*self.command, "--version"], capture_output=True, text=True, check=False).stdout
        return output.split()[1].removeprefix("debian/")

    def run(
        self,
        servers: Sequence[Server],
        requests: Sequence[Request],
        *,
        seconds: float,
        connections: int,
        successor: str | None = None,
    ) -> Measurement:
        """Send `requests` in turn for `seconds`. A connection sends its next request after the last response.

        Several servers share the connections; CPU time is that of the servers and their children. With `successor` each
        request is sent once, and that field of its response makes the next one (see the script); this needs a single
        server. Raises `MeasurementError` if wrk fails.
        """
        file = self.folder / "requests.tsv"
        file.write_text("".join(f"{request.line()}\n" for request in requests))
        shape = [f"-t{len(servers)}", f"-c{connections}", f"-d{seconds:g}s"]
        options = [*shape, f"--timeout={_TIMEOUT_SECONDS}s", f"--script={SCRIPT}"]
        addresses = " ".join(urlsplit(server.url).netloc for server in servers)
        script_arguments = [str(file), *([successor] if successor else [])]
        cpu_began = _cpu_seconds(servers)
        done = subprocess.run(
            [*self.command, *options, servers[0].url, "--", *script_arguments],
            env={**os.environ, "ADDRESSES": addresses},
            capture_output=True,
            text=True,
            check=False,
        )
        cpu = _cpu_seconds(servers) - cpu_began
        _wait_until_idle(servers)
        figures = done.stdout.rstrip().rpartition("\n")[2]
        if done.returncode != 0 or not figures.startswith("{"):
            raise MeasurementError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
        return _measurement(json.loads(figures), cpu)


def _cpu_seconds(servers: Sequence[Server]) -> float:
    first = [server.process for server in servers]
    children = [child for process in first for child in process.children(recursive=True)]
    times = [process.cpu_times() for process in (*first, *children)]
    return sum(each.user + each.system for each in times)


def _wait_until_idle(servers: Sequence[Server]) -> None:
    """wrk exits before the last responses; they must not slow down the next measurement."""
    deadline = time.monotonic() + IDLE_WITHIN_SECONDS
    before, now = -1.0, _cpu_seconds(servers)
    while now > before and time.monotonic() < deadline:
        time.sleep(_IDLE_SECONDS)
        before, now = now, _cpu_seconds(servers)


def _measurement(figures: Mapping[str, float | str], cpu: float) -> Measurement:
    responses = int(figures["responses"])
    if responses == 0:
        raise MeasurementError("There was no response.")
    failed = {name: int(figures[name]) for name in ("not_2xx", "connect", "read", "write", "timeout")}
    counts = ", ".join(f"{name} {count}" for name, count in failed.items() if count)
    return Measurement(
        per_second=responses / float(figures["seconds"]),
        p50_ms=float(figures["p50_ms"]),
        p99_ms=float(figures["p99_ms"]),
        cpu_ms=1000 * cpu / responses,
        errors=sum(failed.values()),
        complaint=f"{counts} of {responses} responses; the first: {figures['first_not_2xx'] or '-'}" if counts else "",
    )
