"""Faults of a topology with several members: elections, promotions, lost brokers and workers.

The faults are for `HIGHLY_AVAILABLE` only.
"""

import asyncio
import contextlib
import random
import re
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import pymongo
from pymongo.errors import PyMongoError

from embedded_stack import StackError
from embedded_stack.components.base import LOOPBACK
from embedded_stack.components.kafka import Kafka
from embedded_stack.components.mysql_pair import MySQLAddress, MySQLMember
from faults.catalogue.base import Fault, now, random_pause
from faults.system import Gap, System

MONGO_MEMBERS = ("mongo", "mongo-2", "mongo-3")
# The member whose clock is behind; see `HIGHLY_AVAILABLE`.
MEMBER_BEHIND = "mongo-3"
BROKERS = ("kafka", "kafka-2", "kafka-3")
WORKERS = ("connect", "connect-2")

ResultT = TypeVar("ResultT")

_DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_STEP_DOWN_SECONDS = 5


async def _until(condition: Callable[[], Awaitable[ResultT]], what: str) -> ResultT:
    """Poll until the result is true, and return it. Raises `StackError` after the deadline."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not (result := await condition()):
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not happen within {_DEADLINE_SECONDS:g} s")
        await asyncio.sleep(_POLL_SECONDS)
    return result


# --- MongoDB


async def _primary(system: System, among: tuple[str, ...] = MONGO_MEMBERS) -> str:
    """Wait for one of these members to be the primary, and return its name."""

    async def elected() -> list[str]:
        return [each for each in among if await asyncio.to_thread(_is_primary, system, each)]

    return (await _until(elected, "an election"))[0]


def _is_primary(system: System, member: str) -> bool:
    try:
        return bool(_admin(system, member, "hello").get("isWritablePrimary"))
    except PyMongoError:
        return False


def _admin(system: System, member: str, command: str, value: Any = 1, **options: Any) -> dict[str, Any]:
    port = system.stack.configuration.port(member)
    with pymongo.MongoClient[dict[str, Any]](
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=2000
    ) as client:
        return client.admin.command(command, value, **options)


class StepDown(Fault):
    """The primary steps down under load, and another member is elected."""

    name = "step down of the MongoDB primary"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - no random choice
        primary = await _primary(system)
        stepped = now()
        await asyncio.to_thread(_admin, system, primary, "replSetStepDown", _STEP_DOWN_SECONDS, force=True)
        await _primary(system)
        return stepped


class PrimaryBehind(Fault):
    """The member whose clock is behind becomes primary, and then loses the next election."""

    name = "MongoDB primary with a clock behind"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        async def is_primary() -> bool:
            # Refused while it is not up to date, or while another election is in progress.
            with contextlib.suppress(PyMongoError):
                await asyncio.to_thread(_admin, system, MEMBER_BEHIND, "replSetStepUp")
            return await asyncio.to_thread(_is_primary, system, MEMBER_BEHIND)

        await _until(is_primary, f"the election of {MEMBER_BEHIND}")
        await random_pause(rng, 2, 4)
        stepped = now()
        await asyncio.to_thread(_admin, system, MEMBER_BEHIND, "replSetStepDown", _STEP_DOWN_SECONDS, force=True)
        await _primary(system)
        return stepped


class MongoPrimaryKilled(Fault):
    """SIGKILL of the primary; it starts again when another member has been elected."""

    name = "kill -9 of the MongoDB primary"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        primary = await _primary(system)
        await random_pause(rng, 0, 0.5)
        killed = now()
        await system.kill(primary)
        await _primary(system, tuple(each for each in MONGO_MEMBERS if each != primary))
        await random_pause(rng, 0, 2)
        await system.start(primary)
        return killed


# --- MySQL


def _address(system: System) -> MySQLAddress:
    address = system.stack.components["mysql"]
    assert isinstance(address, MySQLAddress)  # noqa: S101 - of this topology
    return address


def _switch(address: MySQLAddress, *, keeps_connections: bool) -> None:
    """Promote the replica without loss: the primary takes no more writes, and the replica has them all.

    Connections to the former primary end, or they stay, as when a name leads to another server.
    """
    old, new = address.primary, address.other
    old.execute("SET GLOBAL super_read_only = ON")
    new.wait_until(lambda: not new.lacks(old.gtids()), "execute all transactions")
    new.become_primary()
    address.point_to(new, keeps_connections=keeps_connections)
    old.follow(new)


class Promotion(Fault):
    """The replica is promoted, whose binary logs have lower names and numbers, and then the first primary again."""

    name = "promotion of the MySQL replica and back"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        address = _address(system)
        keeps = rng.random() < 0.5
        await asyncio.to_thread(_switch, address, keeps_connections=keeps)
        await random_pause(rng, 2, 5)
        switched = now()
        await asyncio.to_thread(_switch, address, keeps_connections=not keeps)
        return switched


class MysqlPrimaryKilled(Fault):
    """SIGKILL of the primary, and its semi-synchronous replica is promoted; the killed server becomes its replica.

    The killed server may have committed transactions that the replica has not received. They were never acknowledged,
    but Debezium may have read them: then the copy has what no source has, and only reconcile finds that. Such a server
    is built again from nothing, as its history is not that of the primary.
    """

    name = "kill -9 of the MySQL primary and promotion"
    weight = 5
    exclusive = True

    async def inject(self, system: System, rng: random.Random) -> float:
        address = _address(system)
        old, new = address.primary, address.other
        await asyncio.to_thread(old.wait_until, old.has_replica, "have a replica")
        await random_pause(rng, 0, 0.5)
        killed = now()
        await system.kill(old.name)
        await asyncio.to_thread(new.become_primary)
        address.point_to(new)
        await random_pause(rng, 0, 2)
        await system.start(old.name)
        if await asyncio.to_thread(lambda: new.lacks(old.gtids())):
            system.gap = Gap.EVENTS
            await self._build_again(system, old)
        await asyncio.to_thread(old.follow, new)
        return killed

    @staticmethod
    async def _build_again(system: System, server: MySQLMember) -> None:
        await system.kill(server.name)
        await asyncio.to_thread(shutil.rmtree, system.stack.configuration.data(server.name))
        await system.start(server.name)


# --- Kafka


def _controller(system: System) -> str:
    """The broker whose controller is the active one."""
    kafka = system.stack.components["kafka"]
    assert isinstance(kafka, Kafka)  # noqa: S101 - of this topology
    servers = system.stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]
    tool = ("org.apache.kafka.tools.MetadataQuorumCommand", "--bootstrap-server", servers, "describe", "--status")
    done = subprocess.run(
        kafka.java("-XX:TieredStopAtLevel=1", *tool), env=kafka.variables, capture_output=True, text=True, check=False
    )
    if (found := re.search(r"LeaderId:\s+(\d+)", done.stdout)) is None:
        raise StackError(f"Kafka's quorum can't be described: {(done.stdout + done.stderr)[-500:]}")
    return BROKERS[int(found[1]) - 1]


class BrokerKilled(Fault):
    """SIGKILL of one broker of three, which starts again some seconds later."""

    name = "kill -9 of a broker"
    weight = 5

    async def inject(self, system: System, rng: random.Random) -> float:
        return await _broker_lost(system, rng, rng.choice(BROKERS))


class ControllerKilled(Fault):
    """SIGKILL of the broker with the active controller, which starts again some seconds later."""

    name = "kill -9 of the controller"
    weight = 4

    async def inject(self, system: System, rng: random.Random) -> float:
        return await _broker_lost(system, rng, await asyncio.to_thread(_controller, system))


async def _broker_lost(system: System, rng: random.Random, broker: str) -> float:
    killed = now()
    await system.kill(broker)
    await random_pause(rng, 2, 6)
    await system.start(broker)
    return killed


class TwoBrokersKilled(Fault):
    """SIGKILL of a broker, and of a second one before the first one is back: too few replicas for a write."""

    name = "kill -9 of two brokers"
    weight = 4

    async def inject(self, system: System, rng: random.Random) -> float:
        first, second = rng.sample(BROKERS, 2)
        await system.kill(first)
        await random_pause(rng, 1, 4)
        killed = now()
        await system.kill(second)
        await random_pause(rng, 1, 4)
        # Neither is ready without the other: two of three are a quorum.
        await system.start(first, second)
        return killed


# --- Kafka Connect


class WorkerKilled(Fault):
    """SIGKILL of the worker that runs a connector: the other one takes its tasks over."""

    name = "Connect moved to another worker"
    weight = 5

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - no random choice
        async with httpx.AsyncClient(timeout=30) as client:
            lost = await self._worker_with_tasks(system, client)
            (remaining,) = (each for each in WORKERS if each != lost)
            killed = now()
            await system.kill(lost)

            async def has_all() -> bool:
                workers = await _workers_of_tasks(system, client, remaining)
                return set(workers) == {_worker_id(system, remaining)}

            await _until(has_all, f"the move of all tasks to {remaining}")
        await system.start(lost)
        return killed

    @staticmethod
    async def _worker_with_tasks(system: System, client: httpx.AsyncClient) -> str:
        async def with_tasks() -> list[str]:
            workers = await _workers_of_tasks(system, client, WORKERS[0])
            return [each for each in WORKERS if _worker_id(system, each) in workers]

        return (await _until(with_tasks, "a running task"))[0]


async def _workers_of_tasks(system: System, client: httpx.AsyncClient, worker: str) -> list[str]:
    """The worker of each running task, as this worker reports it; none if it doesn't respond or a task doesn't run."""
    try:
        response = await client.get(f"http://{_worker_id(system, worker)}/connectors?expand=status")
        tasks = [task for each in response.json().values() for task in each["status"]["tasks"]]
    except (httpx.HTTPError, ValueError, KeyError, AttributeError, TypeError):
        return []
    return [task["worker_id"] for task in tasks] if all(task["state"] == "RUNNING" for task in tasks) else []


def _worker_id(system: System, worker: str) -> str:
    return f"{LOOPBACK}:{system.stack.configuration.port(worker)}"
