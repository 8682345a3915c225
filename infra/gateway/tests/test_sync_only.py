"""The gateway of a system with the sync only: other pages, and one service."""

from pathlib import Path

import pytest

from embedded_stack import Stack
from support.gateway import INDEX, RunningGateway, running_gateway

OWN = "<!doctype html><title>Sync</title>"


def write_pages(gateway: RunningGateway) -> None:
    (gateway.web / "sync-only").mkdir()
    for name, text in {
        "sync-only/index.html": OWN,
        "sync-only/app.js": "own",
        "app.js": "other",
        "dom.js": "shared",
    }.items():
        (gateway.web / name).write_text(text)


@pytest.mark.integration
async def test_pages_of_the_sync_replace_those_of_the_same_names(stack: Stack, tmp_path: Path) -> None:
    async with running_gateway(stack, tmp_path, settings={"GATEWAY_SYNC_ONLY": "yes"}) as gateway:
        write_pages(gateway)
        async with gateway.client() as client:
            pages = {path: (await client.get(path)).text for path in ("/", "/sync", "/app.js", "/dom.js")}
            assert pages == {"/": OWN, "/sync": OWN, "/app.js": "own", "/dom.js": "shared"}
            assert (await client.get("/missing.js")).status_code == 404


@pytest.mark.integration
async def test_other_services_are_not_found(stack: Stack, tmp_path: Path) -> None:
    async with (
        running_gateway(stack, tmp_path, settings={"GATEWAY_SYNC_ONLY": "yes"}) as gateway,
        gateway.client() as client,
    ):
        for path in ("/api/auth/v1/login", "/api/tweets/v1/tweets"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
        assert (await client.get("/api/sync/v1/status")).text.startswith("GET /v1/status ")


@pytest.mark.integration
async def test_whole_system_has_its_own_pages_and_services(stack: Stack, tmp_path: Path) -> None:
    async with running_gateway(stack, tmp_path) as gateway:
        write_pages(gateway)
        async with gateway.client() as client:
            assert ((await client.get("/")).text, (await client.get("/app.js")).text) == (INDEX, "other")
            assert (await client.get("/api/auth/v1/login")).text.startswith("GET /v1/login ")
