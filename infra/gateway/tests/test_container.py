"""The container runs the same configuration as the embedded stack."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from embedded_stack import Stack
from embedded_stack.components.gateway import DEFAULTS, TEMPLATES
from support.dockerfiles import stage
from support.gateway import running_gateway
from support.manifests import compose_file
from support.polling import eventually
from support.ports import free_port

IMAGE = stage("gateway").environment
COMPOSE = {name: str(value) for name, value in compose_file()["services"]["gateway"]["environment"].items()}


def test_image_and_compose_give_every_variable_of_the_templates() -> None:
    given = IMAGE | COMPOSE
    for template in TEMPLATES.glob("*.template"):
        names = set(re.findall(r"\$\{(\w+)\}", template.read_text()))
        assert names <= given.keys()
        assert all(re.match(COMPOSE["NGINX_ENVSUBST_FILTER"], name) for name in names)


def test_image_has_every_template_and_reads_the_main_one() -> None:
    built = stage("gateway")
    expected = {f"/etc/nginx/templates/{each.name}" for each in TEMPLATES.glob("*.template")}
    assert expected <= built.copied.keys()
    assert "ln -sf conf.d/nginx.conf /etc/nginx/nginx.conf" in built.arguments("RUN")


def test_limits_have_the_same_defaults_everywhere() -> None:
    for name in ("GATEWAY_CONNECTIONS_PER_CLIENT", "GATEWAY_REQUESTS_PER_CLIENT", "GATEWAY_WORKERS"):
        assert IMAGE[name] == DEFAULTS[name]
        assert COMPOSE[name] == f"${{{name}:-{DEFAULTS[name]}}}"


@pytest.mark.parametrize("proxied", [False, True])
async def test_log_has_one_line_for_each_request_without_its_query(
    stack: Stack, tmp_path: Path, *, proxied: bool
) -> None:
    log = tmp_path / "access.log"
    _, _, log_format = IMAGE["GATEWAY_ACCESS_LOG"].partition(" ")
    settings = {
        "GATEWAY_ACCESS_LOG": f'"{log}" {log_format}',
        "GATEWAY_TRUSTED_PROXY": "127.0.0.1/32" if proxied else "0.0.0.0/32",
    }
    async with running_gateway(stack, tmp_path, settings=settings) as gateway, gateway.client() as client:
        headers = {"X-Forwarded-For": "192.0.2.1", "X-Request-ID": "mine"}
        await client.get('/api/auth/v1/users?query="secret"', headers=headers)

        async def lines() -> list[str]:
            return log.read_text().splitlines()

        (line,) = await eventually(lines)
    assert "secret" not in line
    logged = json.loads(line)
    assert {"timestamp", "duration_s"} < logged.keys()
    assert (logged["method"], logged["path"], logged["status"]) == ("GET", "/api/auth/v1/users", 200)
    assert (logged["upstream_status"], logged["upstream"].partition(":")[0]) == ("200", "127.0.0.1")
    assert (logged["client"], logged["request_id"]) == ("192.0.2.1" if proxied else "127.0.0.1", "mine")


async def close_without_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def answer_with_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nna\0me: value\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("fault", ["closed port", "no answer", "garbage"])
async def test_error_log_has_no_line_with_a_query(
    stack: Stack, tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    service = answer_with_garbage if fault == "garbage" else close_without_answer
    settings = {"AUTH_UPSTREAM": f"127.0.0.1:{free_port()}"} if fault == "closed port" else {}
    async with running_gateway(stack, tmp_path, service, settings=settings) as gateway, gateway.client() as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, "/api/auth/v1/users?query=secret", headers={"Referer": "/?secret"})
            assert answer.status_code >= 500
    logged = capfd.readouterr()
    assert "secret" not in logged.out + logged.err
