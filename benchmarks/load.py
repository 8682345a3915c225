"""The load generator: wrk, the machine's own or Debian's, with one script for every case."""

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
# Who takes no processor time for so long has nothing left to do.
_REST_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: Mapping[str, object] | None = None
    bearer: str = ""

    def line(self) -> str:
        """As the script reads it."""
        authorization = f"Bearer {self.bearer}" if self.bearer else ""
        body = "" if self.body is None else json.dumps(self.body)
        return f"{self.method}\t{self.path}\t{authorization}\t{body}"


@dataclass(frozen=True)
class LoadGenerator:
    """`command` starts wrk; `folder` is for the files of requests."""

    command: Sequence[str]
    folder: Path

    @classmethod
    def find(cls, cache: Path, folder: Path) -> "LoadGenerator":
        """wrk of PATH, or else Debian's, fetched into the cache. Raises `StackError`."""
        if on_path := shutil.which("wrk"):
            return cls([on_path], folder)
        if not is_debian_like():
            raise StackError(
                "wrk, which makes the load, is not on PATH, and this machine is not Debian-like: install it."
            )
        return cls(debian_prefix(cache, WRK).command("usr/bin/wrk"), folder)

    def version(self) -> str:
        # `wrk --version` prints its usage and ends with 1.
        told = subprocess.run([*self.command, "--version"], capture_output=True, text=True, check=False).stdout
        return told.split()[1].removeprefix("debian/")

    def put_load_on(
        self,
        servers: Sequence[Server],
        requests: Sequence[Request],
        *,
        seconds: float,
        connections: int,
        successor: str | None = None,
    ) -> Measurement:
        """Send `requests` in turn for `seconds`; each of the connections sends its next when its last is answered.

        Several servers share the connections; they, and their children, are who answers. With `successor` each request
        is sent once, and that field of its answer makes the next one (see the script), from one server only.
        Raises `MeasurementError` if wrk itself fails.
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
        _await_rest(servers)
        figures = done.stdout.rstrip().rpartition("\n")[2]
        if done.returncode != 0 or not figures.startswith("{"):
            raise MeasurementError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
        return _measurement(json.loads(figures), cpu)


def _cpu_seconds(servers: Sequence[Server]) -> float:
    first = [server.process for server in servers]
    children = [child for process in first for child in process.children(recursive=True)]
    times = [process.cpu_times() for process in (*first, *children)]
    return sum(each.user + each.system for each in times)


def _await_rest(servers: Sequence[Server]) -> None:
    """wrk ends without waiting for the last answers; what is measured next must not pay for them."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    before, now = -1.0, _cpu_seconds(servers)
    while now > before and time.monotonic() < deadline:
        time.sleep(_REST_SECONDS)
        before, now = now, _cpu_seconds(servers)


def _measurement(figures: Mapping[str, float | str], cpu: float) -> Measurement:
    answers = int(figures["answers"])
    if answers == 0:
        raise MeasurementError("Nothing was answered at all.")
    failed = {name: int(figures[name]) for name in ("not_2xx", "connect", "read", "write", "timeout")}
    counts = ", ".join(f"{name} {count}" for name, count in failed.items() if count)
    return Measurement(
        per_second=answers / float(figures["seconds"]),
        p50_ms=float(figures["p50_ms"]),
        p99_ms=float(figures["p99_ms"]),
        cpu_ms=1000 * cpu / answers,
        errors=sum(failed.values()),
        complaint=f"{counts} of {answers} answers; the first: {figures['first_not_2xx'] or '-'}" if counts else "",
    )
