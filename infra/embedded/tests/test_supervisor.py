"""A supervisor and its stack as processes: `make up` and `make run` when processes die."""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pymongo
import pytest
import pytest_asyncio

from embedded_stack.configuration import reserved_port_offset
from embedded_stack.process import ComponentProcess
from embedded_stack.restarts import MAX_RESTARTS
from support.commands import run_command
from support.polling import eventually
from support.stack_commands import StackCommands

pytestmark = pytest.mark.integration

# Two components that start and stop in two seconds. A whole stack takes half a minute.
FEW = ("mongo", "mail")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackCommands]:
    with reserved_port_offset() as offset:
        commands = StackCommands(tmp_path_factory.mktemp("supervised by jürgen"), offset)
        yield commands
        commands.run("down")


@pytest.fixture
def whole(commands: StackCommands) -> StackCommands:
    """A whole stack in the background. It is slow, so only tests of all components use it."""
    return _up(commands)


@pytest.fixture
def up(commands: StackCommands) -> StackCommands:
    """A stack of two components in the background."""
    return _up(commands, *FEW)


def _up(commands: StackCommands, *names: str) -> StackCommands:
    done = commands.run("up", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    return commands


@pytest_asyncio.fixture(scope="module")
async def unattended(commands: StackCommands) -> AsyncIterator[subprocess.Popen[str]]:
    """A supervisor in the foreground without restarts, and its stack of two components."""
    commands.run("down")
    supervisor = commands.begin("run", "--restart", "no", *FEW)
    await line_of(supervisor, lambda line: line.strip() == "ready: mongo mail")
    yield supervisor
    supervisor.terminate()
    await asyncio.to_thread(supervisor.wait, timeout=180)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[StackCommands]:
    """A second stack, of which nothing runs yet."""
    with reserved_port_offset() as offset:
        other = StackCommands(tmp_path / "other", offset)
        yield other
        other.run("down")


async def runs(commands: StackCommands, name: str, instead_of: int | None = None) -> int:
    """Wait until it runs, as another process than `instead_of`. Return its pid."""

    async def pid() -> int | None:
        running = ComponentProcess(name, commands.state).running()
        return running.pid if running is not None else None

    found = await eventually(pid, lambda seen: seen not in (None, instead_of))
    assert found is not None
    return found


async def becomes_empty(commands: StackCommands) -> None:
    async def alive() -> list[str]:
        return commands.alive

    await eventually(alive, lambda seen: seen == [])


async def has_printed(commands: StackCommands, text: str, after: int = 0) -> None:
    async def output() -> str:
        return commands.supervisor_output[after:]

    await eventually(output, lambda printed: text in printed)


async def line_of(supervisor: subprocess.Popen[str], wanted: Callable[[str], bool]) -> None:
    """Read the output of a supervisor in the foreground up to such a line."""

    async def line() -> str:
        assert supervisor.stdout is not None
        printed = await asyncio.to_thread(supervisor.stdout.readline)
        assert printed, "it has ended"
        return printed

    await eventually(line, wanted)


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.long
async def test_state_folder_of_a_version_without_kafka_is_upgraded(whole: StackCommands) -> None:
    """Version 0.1.0 had no durable Kafka data, so deletes while it was stopped are in no topic."""
    addresses = whole.addresses
    async with httpx.AsyncClient(base_url=addresses["GATEWAY_URL"], timeout=30) as client:
        password = "correct horse battery"
        names = {"username": "ada", "email": "ada@example.com", "name": "Ada"}
        secrets = {"password": password, "password_confirm": password}
        registered = await client.post("/api/auth/v1/register", json={**names, **secrets})
        bearer = {"Authorization": f"Bearer {registered.json()['access_token']}"}
        for text in ("stays", "is deleted"):
            (await client.post("/api/tweets/v1/tweets", json={"text": text}, headers=bearer)).raise_for_status()
    await reconciled(whole, lambda code, printed: code == 0 and "2 rows compared" in printed)
    assert whole.run("stop", "connect").returncode == 0
    with pymongo.MongoClient[dict[str, Any]](addresses["MONGODB_URL"]) as mongo:
        assert mongo["tweets"]["tweets"].delete_one({"text": "is deleted"}).deleted_count == 1
    whole.run("down")
    for folder in ("run", "data/kafka", "data/connect"):
        shutil.rmtree(whole.state / folder)
    before = whole.snapshots

    done = whole.run("up")
    assert "the connectors take a snapshot" in done.stdout
    await reconciled(whole, lambda code, printed: code == 1 and "1 extra" in printed)
    assert whole.snapshots == before + 2, "one for each store"
    await reconciled(whole, lambda code, printed: code == 0 and "1 extra, 1 mended" in printed, "--repair")
    await reconciled(whole, lambda code, printed: code == 0 and "1 rows compared" in printed)
    whole.run("down")
    assert whole.run("up").returncode == 0
    assert whole.snapshots == before + 2


async def reconciled(commands: StackCommands, until: Callable[[int, str], bool], *options: str) -> None:
    """Repeat a comparison until its result is accepted, because the sync may still apply events."""
    addresses = commands.addresses
    variables = {**addresses, "MYSQL_URL": addresses["SYNC_MYSQL_URL"]}

    async def result() -> tuple[int, str, str]:
        return await run_command("sync-service", "reconcile", *options, **variables)

    await eventually(result, lambda seen: until(seen[0], seen[1]))


def test_up_of_a_running_stack_changes_nothing(whole: StackCommands) -> None:
    before = {file.name: file.read_text() for file in (whole.state / "run").glob("*.pid")}
    done = whole.run("up")
    assert done.returncode == 0
    assert "runs already" in done.stdout
    assert {file.name: file.read_text() for file in (whole.state / "run").glob("*.pid")} == before
    assert whole.run("status").returncode == 0


async def test_component_that_dies_is_restarted(whole: StackCommands) -> None:
    printed, killed = len(whole.supervisor_output), whole.pid("tweet")
    kill(killed)
    await runs(whole, "tweet", instead_of=killed)
    await has_printed(whole, "tweet     DIED: it was ended by SIGKILL", printed)
    await has_printed(whole, f"1 of {MAX_RESTARTS}", printed)
    await has_printed(whole, "tweet      ready after", printed)


async def test_start_on_used_ports_names_the_stack_that_uses_them(whole: StackCommands, other: StackCommands) -> None:
    done = StackCommands(other.state, whole.offset).run("up")
    assert done.returncode == 1
    for port, name in ((8080, "gateway"), (13306, "mysql"), (19092, "kafka"), (19093, "kafka"), (11025, "mail")):
        line = next(line for line in done.stdout.splitlines() if str(port + whole.offset) in line)
        assert f"{name} of the stack in {whole.state} (process " in line
    assert (
        f"`TANDEM_STATE_DIR={shlex.quote(str(whole.state))} TANDEM_PORT_OFFSET={whole.offset} make down`" in done.stdout
    )
    assert not list((other.state / "log").glob("[!s]*.log"))
    assert other.alive == []


async def test_running_stack_refuses_another_port_offset(whole: StackCommands, other: StackCommands) -> None:
    settings = f"TANDEM_STATE_DIR={shlex.quote(str(whole.state))} TANDEM_PORT_OFFSET={whole.offset}"
    for arguments in (("start", "sync"), ("stop", "sync"), ("restart", "sync"), ("status",), ("up",)):
        done = StackCommands(whole.state, other.offset).run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert f"runs with TANDEM_PORT_OFFSET={whole.offset}, and {other.offset} is set now" in done.stderr
        assert f"`{settings} make down`" in done.stderr


async def test_down_finds_processes_without_supervisor_guard_and_pid_files(
    whole: StackCommands, other: StackCommands
) -> None:
    assert other.run("start", "mail").returncode == 0
    supervisor = psutil.Process(whole.pid("supervisor"))
    (guard,) = [child for child in supervisor.children() if "guard" in child.cmdline()]
    guard.kill()
    supervisor.kill()
    shutil.rmtree(whole.state / "run")
    assert len(whole.alive) > len(whole.run("status").stdout.splitlines())
    done = whole.run("down")
    assert done.returncode == 0
    assert "mysql      stopped" in done.stdout
    assert whole.alive == []
    assert len(other.alive) == 1


async def test_stopped_component_stays_stopped_until_up_starts_it(up: StackCommands) -> None:
    assert up.run("stop", "mail").returncode == 0
    # The restart of the other component proves that the supervisor has checked both since.
    killed = up.pid("mongo")
    kill(killed)
    await runs(up, "mongo", instead_of=killed)
    assert up.pid("mail") is None
    done = up.run("up", *FEW)
    assert done.returncode == 0
    assert "runs without mail;" in done.stdout
    await runs(up, "mail")


async def test_component_killed_on_purpose_is_not_restarted(up: StackCommands) -> None:
    assert up.run("kill", "mail").returncode == 0
    killed = up.pid("mongo")
    kill(killed)
    await runs(up, "mongo", instead_of=killed)
    assert up.pid("mail") is None


async def test_component_that_dies_too_often_is_not_restarted_until_an_operator_starts_it(up: StackCommands) -> None:
    printed = len(up.supervisor_output)
    pid = up.pid("mail")
    kill(pid)
    for _ in range(MAX_RESTARTS):
        pid = await runs(up, "mail", instead_of=pid)
        kill(pid)
    await has_printed(up, f"mail      was started again {MAX_RESTARTS} times within a minute and is left now", printed)
    await has_printed(
        up,
        f"TANDEM_STATE_DIR={shlex.quote(str(up.state))} TANDEM_PORT_OFFSET={up.offset} make start NAME=mail",
        printed,
    )
    assert up.run("start", "mail").returncode == 0
    await has_printed(up, "mail      is running again", printed)
    pid = up.pid("mail")
    kill(pid)
    await runs(up, "mail", instead_of=pid)


async def test_up_stops_components_without_a_supervisor_and_names_the_cause(other: StackCommands) -> None:
    assert other.run("start", "mail").returncode == 0
    started = other.pid("mail")
    done = other.run("up", "mail")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "without a supervisor (it was killed, or `make start` started them)" in done.stdout
    assert other.pid("mail") != started


async def test_concurrent_starts_start_one_process(up: StackCommands) -> None:
    for _ in range(3):
        kill(up.pid("mail"))
        done = await asyncio.gather(*(asyncio.to_thread(up.run, "start", "mail") for _ in range(3)))
        assert [each.returncode for each in done] == [0, 0, 0], done
        await runs(up, "mail")
        assert len([line for line in up.alive if "embedded_stack.mail_sink" in line]) == 1


async def test_start_of_a_running_component_is_no_error(up: StackCommands) -> None:
    done = up.run("start", "mail")
    assert done.returncode == 0
    assert "mail       runs already" in done.stdout


async def test_stack_of_a_killed_supervisor_is_stopped_before_the_next_one_starts(up: StackCommands) -> None:
    # This makes one component a child of another process.
    assert up.run("stop", "mail").returncode == up.run("start", "mail").returncode == 0
    printed = len(up.supervisor_output)
    # The lock delays the end of the stack.
    with ComponentProcess("mail", up.state).exclusive():
        kill(up.pid("supervisor"))
        next_one = up.begin("up", *FEW)
        await line_of(next_one, lambda line: "is stopping; waiting" in line)
    output, _ = await asyncio.to_thread(next_one.communicate, timeout=180)
    assert next_one.returncode == 0, output
    for name in FEW:
        assert f"{name:<10} stopped" in up.supervisor_output[printed:]
        await runs(up, name)


async def test_dead_component_is_only_reported_without_restarts(
    unattended: subprocess.Popen[str], commands: StackCommands
) -> None:
    killed = commands.pid("mail")
    kill(commands.pid("mongo"))
    kill(killed)
    await line_of(unattended, lambda line: "mail      start it again with:" in line)
    assert commands.pid("mail") == killed
    assert "runs without mongo, mail" in commands.run("up", *FEW).stdout
    assert f"runs already: {' '.join(FEW)}" in commands.run("up", *FEW).stdout


async def test_removed_state_folder_ends_the_stack(unattended: subprocess.Popen[str], commands: StackCommands) -> None:
    # This makes one component a child of another process.
    assert commands.run("stop", "mail").returncode == commands.run("start", "mail").returncode == 0
    shutil.rmtree(commands.state, ignore_errors=True)
    output, _ = await asyncio.to_thread(unattended.communicate, timeout=180)
    assert unattended.returncode == 1
    assert f"error: The state folder {commands.state} was removed" in output
    await becomes_empty(commands)


async def test_state_folder_removed_while_starting_ends_the_stack(other: StackCommands) -> None:
    supervisor = other.begin("run", *FEW)

    async def first() -> int | None:
        return other.pid("mongo")

    await eventually(first)
    shutil.rmtree(other.state, ignore_errors=True)
    output, _ = await asyncio.to_thread(supervisor.communicate, timeout=180)
    assert f"error: The state folder {other.state} was removed" in output
    await becomes_empty(other)


async def test_supervisor_whose_output_is_closed_stops_its_stack(other: StackCommands) -> None:
    supervisor = other.begin("run", *FEW)
    assert supervisor.stdout is not None
    await asyncio.to_thread(supervisor.stdout.readline)
    supervisor.stdout.close()
    await asyncio.to_thread(supervisor.wait, timeout=180)
    await becomes_empty(other)
