"""A service listens before its application has started."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service_kit.server import OPEN_FILES, raise_limit_of_open_files
from support.polling import eventually
from support.ports import free_port

SERVICE = """
import asyncio, pathlib, sys
from contextlib import asynccontextmanager
from fastapi import FastAPI
from service_kit.application import create_application
from service_kit.server import serve
from service_kit.settings import ServiceSettings

folder = pathlib.Path(sys.argv[1])

async def until(name):
    while not (folder / name).exists():
        await asyncio.sleep(0.01)

@asynccontextmanager
async def lifespan(app):
    await until("started")
    # An error that no code awaits.
    asyncio.get_running_loop().call_exception_handler({"message": "failed (with values)"})
    yield

async def prepare():
    await until("prepared")
    if (folder / "failed").exists():
        raise ValueError("the schema can't be migrated")

class Settings(ServiceSettings):
    port: int

settings = Settings()
app = create_application(
    title="test", description="", version="1", settings=settings, lifespan=lifespan, routers=[], readiness=lambda _: {}
)
try:
    serve(app, service="test", settings=settings, before_start=prepare)
except ValueError as error:
    sys.exit(f"error: {error}")
"""

pytestmark = pytest.mark.integration


@asynccontextmanager
async def service(folder: Path, port: int, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    variables = {"PATH": os.environ["PATH"], "PORT": str(port), "HOST": "127.0.0.1", **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVICE,
        str(folder),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as opened:
        yield opened


async def until_status(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    async def asked() -> httpx.Response | None:
        try:
            response = await client.get(path)
        except httpx.TransportError:
            return None
        return response if response.status_code == status else None

    return await eventually(asked)


async def test_service_is_alive_and_not_ready_until_it_has_started(
    tmp_path: Path, client: httpx.AsyncClient, port: int
) -> None:
    async with service(tmp_path, port) as process:
        for waits_for in ("prepared", "started"):
            alive = await until_status(client, "/healthz", 200)
            assert alive.json() == {"status": "ok"}
            assert alive.headers["connection"] == "close"
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["checks"]) == (503, {"start": "the service is starting"})
            other = await client.get("/v1/users")
            assert (other.status_code, other.json()["code"]) == (503, "service-unavailable")
            assert "retry-after" in other.headers
            (tmp_path / waits_for).touch()
        assert (await until_status(client, "/readyz", 200)).json()["status"] == "ready"
        assert (await client.get("/v1/users")).status_code == 404
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == -signal.SIGTERM
    events = [(line["logger"], line["event"]) for line in map(json.loads, output.splitlines())]
    assert ("asyncio", "failed") in events


async def test_error_of_the_preparation_ends_the_process(tmp_path: Path, client: httpx.AsyncClient, port: int) -> None:
    (tmp_path / "failed").touch()
    async with service(tmp_path, port) as process:
        await until_status(client, "/healthz", 200)
        (tmp_path / "prepared").touch()
        _, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 1
    assert errors.decode().splitlines()[-1] == "error: the schema can't be migrated"


async def test_preparation_ends_on_sigterm(tmp_path: Path, client: httpx.AsyncClient, port: int) -> None:
    async with service(tmp_path, port) as process:
        await until_status(client, "/healthz", 200)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGTERM


async def test_taken_port_ends_the_process_before_it_prepares_anything(tmp_path: Path, port: int) -> None:
    server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", port)
    async with server, service(tmp_path, port) as process:
        assert await asyncio.wait_for(process.wait(), 120) == 3


def test_soft_limit_of_open_files_is_raised_as_far_as_the_hard_one_permits() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        raise_limit_of_open_files()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised == (OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard), hard)


async def test_port_of_the_metrics_serves_nothing_else(tmp_path: Path, client: httpx.AsyncClient) -> None:
    (tmp_path / "prepared").touch()
    (tmp_path / "started").touch()
    port = free_port()
    async with (
        service(tmp_path, client.base_url.port or 0, METRICS_PORT=str(port)) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as scraper,
    ):
        metrics = await until_status(scraper, "/metrics", 200)
        assert "http_requests_total" in metrics.text
        for path in (
            "/",
            "/healthz",
            "/readyz",
            "/docs",
            "/openapi.json",
            "/metrics/",
            "//metrics",
            "/metrics/../docs",
        ):
            refused = await scraper.get(path)
            assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json"), path
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGTERM
