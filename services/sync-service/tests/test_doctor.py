"""`sync-service doctor`: each precondition with its remedy."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from support.commands import run_command
from support.mysql_accounts import account_of_schema
from support.topics import create_topics
from sync_service.check_results import Result, as_text, clock_result, disk_result
from sync_service.doctor.http_checks import connector_result, registrar_results, service_results, status_results
from sync_service.doctor.local_checks import routes_of_other_servers
from sync_service.routes.loader import load_routes
from sync_service.sinks.diagnosis import sources_to_check

run = partial(run_command, "sync-service", "doctor")
WORKING = {"name": "c", "problem": None, "waits_for": None, "source_problem": None, "state": "RUNNING"}


@pytest.fixture
async def account(mysql_root: AsyncEngine, schema_url: str) -> AsyncIterator[str]:
    """The address of an account that may read the copies and nothing else."""
    async with account_of_schema(mysql_root, schema_url, "SELECT") as address:
        yield address


def products(topic: str) -> dict[str, Any]:
    return {
        "topic": topic,
        "target": {"store": "mongodb", "collection": f"c_{secrets.token_hex(4)}"},
        "key": {"_id": {"from": "id", "type": "string"}},
        "fields": {"name": "string"},
    }


async def test_what_is_missing_is_named_with_its_remedy(
    tmp_path: Path, account: str, schema_url: str, database_url: str, kafka_bootstrap_servers: str
) -> None:
    suffix, file = secrets.token_hex(4), tmp_path / "routes.yaml"
    kept, brief, absent = (f"test.{suffix}.shop.{name}" for name in ("kept", "brief", "absent"))
    await create_topics(kafka_bootstrap_servers, kept, partitions=2, configs={"retention.ms": "604800000"})
    await create_topics(kafka_bootstrap_servers, brief, configs={"retention.ms": "60000"})
    routes = {name.rpartition(".")[2]: products(name) for name in (kept, brief, absent)}
    target = {"store": "mysql", "table": f"t_{suffix}"}
    key = {"id": {"from": "_id", "type": "string"}}
    routes["orders"] = {**products(f"test.{suffix}.shop_{suffix}.orders"), "target": target, "key": key}
    file.write_text(yaml.safe_dump(routes))
    variables = {
        "SYNC_ROUTES_FILE": str(file),
        "MONGODB_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "SYNC_URL": "http://127.0.0.1:1",
    }
    # MYSQL_URL is that of another service, as in .stack/env.
    code, output, errors = await run("--json", MYSQL_URL="mysql://127.0.0.1:1/x", SYNC_MYSQL_URL=account, **variables)
    assert (code, errors) == (1, "")
    answer = json.loads(output)
    assert answer["passed"] is False
    found = {each["check"]: each for each in answer["checks"]}
    well = {name for name, each in found.items() if each["passed"]}
    assert well >= {"routes file", "MySQL", "clock of MySQL", "migrations", "MongoDB", "clock of MongoDB", "Kafka"}
    assert found[f"topic {kept}"]["detail"] == "2 partitions, events are kept for 7 days"
    assert found[f"topic {brief}"]["remedy"].startswith("set its retention.ms to 604800000")
    assert found[f"topic {absent}"]["detail"] == "does not exist"
    rights = found["rights in MySQL"]["remedy"]
    schema = schema_url.rpartition("/")[2].replace("_", r"\_")
    assert f"ON `{schema}`.* TO `{make_url(account).username}`" in rights
    assert "GRANT SELECT ON `shop`.`absent` TO" in rights
    assert found["rights in MongoDB"]["passed"]
    assert found[f"collection shop_{suffix}.orders"]["detail"] == "does not exist"
    assert found["registrar"]["passed"] is None
    assert found["sync-service"]["remedy"] == "start sync-service, or correct SYNC_URL"
    assert str(make_url(account).password) not in output.replace(str(make_url(account).username), "")


@pytest.mark.integration
async def test_servers_that_hang_fail_and_hold_nothing_up(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("broken")
    # It accepts connections, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, output, errors = await run(
            "--timeout",
            "1",
            SYNC_ROUTES_FILE=str(file),
            MYSQL_URL=f"mysql://sync:secret@{address}/x",
            MONGODB_URL=f"mongodb://sync:secret@{address}/x",
            KAFKA_BOOTSTRAP_SERVERS=address,
            REGISTRAR_URL=f"http://{address}",
            SYNC_URL=f"http://{address}",
        )
    assert (code, errors) == (1, "")
    failed = [line.partition(":")[0] for line in output.splitlines() if line.startswith("✗")]
    # The disk of this machine may be full.
    failed = [each for each in failed if each != "✗ disk"]
    assert failed == ["✗ routes file", "✗ registrar", "✗ sync-service", "✗ MySQL", "✗ MongoDB", "✗ Kafka"]
    assert "secret" not in output


@asynccontextmanager
async def http_server(*parts: bytes, repeats: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its host and port, and the requests. The answer is the parts, the last one without end if it `repeats`."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.writelines(parts)
            await writer.drain()
            while repeats:
                writer.write(parts[-1])
                await writer.drain()
                await asyncio.sleep(0.1)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


@pytest.mark.integration
async def test_answer_without_an_end_is_a_failure(tmp_path: Path) -> None:
    async with http_server(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", b" ", repeats=True) as (address, _):
        variables = {"SYNC_ROUTES_FILE": str(tmp_path / "absent"), "SYNC_URL": f"http://{address}"}
        code, output, errors = await run("--json", "--timeout", "1", **variables)
    assert (code, errors) == (1, "")
    found = {each["check"]: each for each in json.loads(output)["checks"]}
    assert "no answer" in found["sync-service"]["detail"]


@pytest.mark.integration
async def test_token_goes_to_the_service_alone_and_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]") as (other, of_other):
        redirect = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://{other}/\r\n\r\n".encode()
        async with http_server(redirect) as (service, of_service):
            monkeypatch.setenv("HTTP_PROXY", f"http://{other}")
            monkeypatch.setenv("http_proxy", f"http://{other}")
            (moved,) = await service_results(f"http://{service}", "t0ken", 60)
            assert (moved.passed, moved.detail) == (False, f"http://{service}: it answers 302 Found")
            assert b"Bearer t0ken" in of_service[0]
            assert of_other == []
        found, *_ = await registrar_results(f"http://ada:s3cret@{other}", 60)
        assert (found.passed, found.detail) == (True, f"answers at http://{other}")
    for address in ("http://ada:s3cret@127.0.0.1:1", "http://ada:s3/cret@127.0.0.1:1", "ada:s3cret@127.0.0.1"):
        (failed,) = await registrar_results(address, 60)
        assert failed.passed is False
        assert "ada" not in failed.detail
        assert "cret" not in failed.detail


@pytest.mark.integration
async def test_without_addresses_each_is_named() -> None:
    code, output, _ = await run(SYNC_URL="no address")
    assert code == 1
    for line in ("MySQL: MYSQL_URL is not set", "MongoDB: MONGODB_URL is not set"):
        assert f"✗ {line}\n    on the embedded stack: set -a; . .stack/env; set +a" in output
    assert "- registrar: not asked: REGISTRAR_URL is not set" in output


def test_states_of_routes_have_remedies() -> None:
    routes = [
        {"name": "well", "state": "catching up", "lag": 1200},
        {"name": "doubt", "state": "in doubt", "lag": 0},
        {"name": "held", "state": "paused", "lag": None},
    ]
    refused, well, doubt, held = status_results({"refused_routes_version": "9f86d081884c", "routes": routes})
    assert (refused.passed, refused.remedy) == (False, "sync-service routes check")
    assert well == Result("route well", True, "catching up, lag 1,200")
    assert doubt == Result("route doubt", False, "in doubt, lag 0", "sync-service reconcile --repair --route doubt")
    assert held == Result("route held", False, "paused", "sync-service routes resume held")


def test_reconcile_is_no_remedy_for_a_source_on_another_server(tmp_path: Path) -> None:
    file, topics = tmp_path / "routes.yaml", {"near": "cdc.near.shop.products", "far": "cdc.far.shop.products"}
    sources = {"near": {"kind": "mysql"}, "far": {"kind": "mysql", "environment": "SHOP"}}
    file.write_text(yaml.safe_dump({"sources": sources, **{name: products(topic) for name, topic in topics.items()}}))
    elsewhere = routes_of_other_servers(file)
    assert elsewhere == {"far"}
    states = [{"name": "far", "state": state, "lag": 0} for state in ("in doubt", "differs", "stopped")]
    found = list(status_results({"refused_routes_version": None, "routes": states}, elsewhere))
    assert ["--repair" in (each.remedy or "") for each in found] == [False, False, False]
    assert (found[2].remedy or "").endswith("sync-service routes resume far")
    near, unchecked = sources_to_check(load_routes(file, needs_secret=False), "mysql", elsewhere)
    assert near == [("shop", "products")]
    assert unchecked == [Result("source of route far", None, "not checked: another server")]


def test_connector_that_waits_or_fails_is_no_success() -> None:
    assert connector_result({**WORKING, "rows_awaited": []}) == Result("connector c", True, "RUNNING")
    awaited = connector_result({**WORKING, "rows_awaited": ["shop.products"]})
    assert (awaited.passed, awaited.detail) == (True, "RUNNING, a snapshot copies shop.products")
    for name in ("problem", "waits_for", "source_problem"):
        found = connector_result({**WORKING, name: "binlog_row_image is MINIMAL"})
        assert (found.passed, found.detail) == (False, "binlog_row_image is MINIMAL")


def test_clock_fails_only_if_the_difference_is_certain() -> None:
    assert clock_result("MySQL", 7.0, 3.0).passed
    late = clock_result("MySQL", -7.0, 0.1)
    assert (late.passed, late.detail) == (False, "7.0 s behind this machine")


def test_full_disk_fails() -> None:
    assert as_text(disk_result("disk", 2**30, 2**40)) == "✗ disk: 1.0 of 1024.0 GiB free\n    free some space"
