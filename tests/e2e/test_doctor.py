"""`sync-service doctor` on a running system, with the variables of `.stack/env` and nothing else."""

import json
from typing import Any

from embedded_stack import Stack
from support.commands import run_command
from support.polling import eventually

SERVERS = ("MySQL", "MongoDB", "Kafka", "registrar", "sync-service")


async def test_every_precondition_of_a_running_system_is_met(running_stack: Stack) -> None:
    async def report() -> tuple[dict[str, dict[str, Any]], str]:
        _, output, errors = await run_command("sync-service", "doctor", "--json", **running_stack.addresses)
        return {each["check"]: each for each in json.loads(output)["checks"]}, errors

    def is_healthy(found: dict[str, dict[str, Any]]) -> bool:
        # Other tests may leave a copy in doubt, and the disk is not the system's.
        checks = [each for name, each in found.items() if not name.startswith("route ") and name != "disk"]
        return all(each["passed"] is not False for each in checks)

    found, errors = await eventually(report, lambda report: is_healthy(report[0]), within=120)
    assert errors == ""
    expected = {*SERVERS, "routes file", "disk", "migrations", "clock of MySQL", "clock of MongoDB"}
    expected |= {"rights in MySQL", "rights in MongoDB", "connector mysql-users", "connector mongodb-tweets"}
    expected |= {"topic cdc.mysql.auth.users", "topic cdc.mongo.tweets.tweets", "route users", "route tweets"}
    assert expected <= found.keys()
    assert found["topic cdc.mysql.auth.users"]["detail"].startswith("6 partitions, events are kept for ")
