"""The Django peer `django_auth`: its schema, its accounts, and gunicorn."""

import asyncio
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncmy
import httpx
import psutil
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy.engine import URL, make_url

from benchmarks.measurement import Measurement, MeasurementError
from benchmarks.server import free_port
from embedded_stack import Stack
from embedded_stack.components.base import LOOPBACK
from embedded_stack.configuration import REPOSITORY
from embedded_stack.process import Command, ComponentProcess

ENVIRONMENT = REPOSITORY / ".venv-peers"
PACKAGES = ("Django", "djangorestframework", "djangorestframework-simplejwt", "PyJWT", "PyMySQL", "gunicorn")

SCHEMA = "peer_django"
# gunicorn's default worker handles one request at a time. A short trial of gthread and of other numbers, on a busy
# machine, showed no difference beyond noise.
WORKERS = (os.cpu_count() or 1) + 1
_START_SECONDS = 30
_GRACE_SECONDS = 10
_POLL_SECONDS = 0.1


@contextmanager
def django_running(stack: Stack) -> Iterator["DjangoServer"]:
    """Run the peer on a stack's MySQL."""
    if not ENVIRONMENT.exists():
        raise MeasurementError(
            f"{ENVIRONMENT.name}, the environment of the peers, does not exist; `make bench` creates it."
        )
    server = DjangoServer(stack.configuration.state, stack.addresses["MYSQL_ROOT_URL"])
    try:
        server.start()
        yield server
    finally:
        server.stop()


class DjangoServer:
    """All methods raise `MeasurementError` if the peer fails."""

    def __init__(self, state: Path, mysql_root_url: str) -> None:
        self._root = make_url(mysql_root_url)
        self._account = self._root.set(username=SCHEMA, password=secrets.token_urlsafe(24), database=SCHEMA, query={})
        self._variables = _variables(self._account)
        self._gunicorn = ComponentProcess("django", state)
        self._port = free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Create the schema by Django's migrations, then serve. Wait until the server responds."""
        asyncio.run(_create_schema(self._root, self._account))
        self._manage("migrate", "--no-input")
        self._gunicorn.start(Command(self._server(), self._variables, REPOSITORY))
        deadline = time.monotonic() + _START_SECONDS
        while not self._responds():
            if self._gunicorn.running() is None or time.monotonic() > deadline:
                raise MeasurementError(f"The Django peer did not start:\n{self._gunicorn.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        self._gunicorn.stop(_GRACE_SECONDS)

    def process(self) -> psutil.Process:
        running = self._gunicorn.running()
        if running is None:
            raise MeasurementError(f"The Django peer has exited:\n{self._gunicorn.log_tail()}")
        return running

    def create_accounts(self, count: int, password: str) -> None:
        self._manage("create_accounts", str(count), password)

    def time_token_check(self, library: str, token: str, seconds: float) -> Measurement:
        """Measure `SimpleJWT` or `PyJWT` checking this access token."""
        return Measurement(**json.loads(self._manage("time_token_check", library, token, str(seconds))))

    def _server(self) -> list[str]:
        options = ("--bind", f"{LOOPBACK}:{self._port}", "--workers", str(WORKERS))
        quiet = ("--access-logfile", "-", "--no-control-socket")
        return [str(ENVIRONMENT / "bin" / "gunicorn"), *options, *quiet, "django.core.wsgi:get_wsgi_application()"]

    def _responds(self) -> bool:
        try:
            return httpx.get(f"{self.url}/v1/users/me", timeout=2).status_code == 401
        except httpx.HTTPError:
            return False

    def _manage(self, *arguments: str) -> str:
        command = [str(ENVIRONMENT / "bin" / "python"), "-m", "django", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, env=self._variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MeasurementError(f"django {arguments[0]} failed:\n{done.stderr.strip()}")
        return done.stdout


def _variables(account: URL) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_auth.settings",
        "PEER_SECRET_KEY": secrets.token_urlsafe(48),
        "PEER_SIGNING_KEY": private.decode(),
        "PEER_VERIFYING_KEY": public.decode(),
        "PEER_MYSQL_HOST": account.host or LOOPBACK,
        "PEER_MYSQL_PORT": str(account.port or 3306),
        "PEER_MYSQL_USER": account.username or "",
        "PEER_MYSQL_PASSWORD": str(account.password),
        "PEER_MYSQL_SCHEMA": SCHEMA,
    }


async def _create_schema(root: URL, account: URL) -> None:
    connection: Any = await asyncmy.connect(
        host=root.host, port=root.port or 3306, user=root.username, password=root.password or ""
    )
    async with connection, connection.cursor() as cursor:
        await cursor.execute(f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci")
        await cursor.execute(f"CREATE USER {SCHEMA}@'%' IDENTIFIED BY '{account.password}'")
        await cursor.execute(f"GRANT ALL ON {SCHEMA}.* TO {SCHEMA}@'%'")
