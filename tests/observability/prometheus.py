"""A Prometheus of Debian's, which asks the tests' system as the real one asks the containers."""

import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from embedded_stack import Stack
from embedded_stack.configuration import port_is_free
from embedded_stack.fetch.debian import DebianPackages, debian_prefix
from embedded_stack.process import Command, ComponentProcess

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "observability"
PAGE = ROOT / "docs" / "observability.md"
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "tandem.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
JOBS = {"auth": "AUTH_URL", "tweet": "TWEET_URL", "sync": "SYNC_URL", "registrar": "REGISTRAR_URL"}
# In Prometheus's place in the tests' range of ports (9090 plus their offset).
PORT = 9090
STOP_SECONDS = 10

PACKAGES = DebianPackages(
    name="debian-sid-prometheus",
    title="Prometheus from Debian, for its tests (40 MB)",
    packages=("libc6",),
    # They depend on a dozen more, for accounts and a web page that no test opens.
    without_dependencies=("prometheus", "promtool"),
)


def program(name: str, cache: Path) -> list[str]:
    """How to start `prometheus` or `promtool`."""
    return debian_prefix(cache, PACKAGES).command(f"usr/bin/{name}")


def promtool(cache: Path, *arguments: str) -> None:
    """Run it; what it complains of fails the test."""
    done = subprocess.run(
        [*program("promtool", cache), *arguments],
        cwd=FOLDER / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Series:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    http: httpx.AsyncClient

    async def query(self, expression: str) -> list[Series]:
        """What an expression is now; a series that is not a number tells nothing, and is left out."""
        found = await self._get("query", query=expression)
        series = [Series(each["metric"], float(each["value"][1])) for each in found["result"]]
        return [each for each in series if not math.isnan(each.value)]

    async def selectors(self, expression: str) -> set[str]:
        """Every `metric{label="…"}` that an expression is made of, by Prometheus's own parser."""
        return set(_selectors(await self._get("parse_query", query=expression)))

    async def rules(self) -> Sequence[Mapping[str, Any]]:
        return [rule for group in (await self._get("rules"))["groups"] for rule in group["rules"]]

    async def _get(self, call: str, **parameters: str) -> Any:
        answer = await self.http.get(f"/api/v1/{call}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


def _selectors(node: Any) -> Iterator[str]:
    match node:
        case {"type": "vectorSelector" | "matrixSelector", "name": name, "matchers": matchers}:
            parts = [
                f'{each["name"]}{each["type"]}"{each["value"]}"' for each in matchers if each["name"] != "__name__"
            ]
            yield f"{name}{{{', '.join(parts)}}}"
        case dict():
            for part in node.values():
                yield from _selectors(part)
        case list():
            for part in node:
                yield from _selectors(part)


@contextmanager
def running_prometheus(stack: Stack, folder: Path) -> Iterator[str]:
    """With the configuration of the containers, but the addresses of this stack, and a scrape each second."""
    configuration = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(FOLDER / "prometheus" / "alerts.yml")]
    for scraped in configuration["scrape_configs"]:
        address = stack.addresses[JOBS[scraped["job_name"]]]
        scraped["static_configs"] = [{"targets": [address.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = PORT + stack.configuration.port_offset
    assert port_is_free(port)
    process = ComponentProcess("prometheus", folder)
    process.start(
        Command(
            [
                *program("prometheus", stack.configuration.cache),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
        )
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop(STOP_SECONDS)
