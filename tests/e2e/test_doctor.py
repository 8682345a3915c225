"""`sync-service doctor` on a running system, with the variables of `.stack/env` and nothing else."""

import json
from typing import Any

from embedded_stack import Stack
from support.commands import run_command
from support.polling import eventually

SERVERS = ("MySQL", "MongoDB", "Kafka", "registrar", "sync-service")


async def test_every_precondition_of_a_running_system_is_met(running_stack: Stack) -> None:
    async def checks() -> dict[str, dict[str, Any]]:
        _, output, errors = await run_command("sync-service", "doctor", "--json", **running_stack.addresses)
        assert errors == ""
        return {each["check"]: each for each in json.loads(output)["checks"]}

    def failed(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        # Other tests may leave a copy in doubt.
        return [each for name, each in found.items() if each["passed"] is False and not name.startswith("route ")]

    found = await eventually(checks, lambda found: not failed(found), within=120)
    expected = {*SERVERS, "routes file", "disk", "migrations", "clock of MySQL", "clock of MongoDB"}
    expected |= {"rights in MySQL", "rights in MongoDB", "connector mysql-users", "connector mongodb-tweets"}
    expected |= {"topic cdc.mysql.auth.users", "topic cdc.mongo.tweets.tweets", "route users", "route tweets"}
    assert expected <= found.keys()
    assert found["topic cdc.mysql.auth.users"]["detail"].startswith("6 partitions, events are kept for ")
