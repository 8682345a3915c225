"""`sync-service inspect`, and what a wrong configuration is answered with."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from change_events import mysql_event

SYNC_SERVICE = str(Path(sys.executable).with_name("sync-service"))


async def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        SYNC_SERVICE,
        *arguments,
        env={"PATH": os.environ["PATH"], **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def topic_with_events(bootstrap_servers: str) -> str:
    topic = f"test.{secrets.token_hex(4)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for key, value in (
            mysql_event({"id": "u1", "name": "Ada"}, pos=7),
            mysql_event({"id": "u1", "name": "Ada"}, op="d", pos=8),
            (b'{"id":"u1"}', None),
            (b'{"id":"u2"}', b"broken"),
        ):
            await producer.send_and_wait(topic, key=key, value=value)
        headers = {"topic": "cdc.x", "partition": "3", "offset": "7", "exception.message": "no such luck"}
        await producer.send_and_wait(
            topic,
            key=b"k",
            value=b"broken",
            headers=[(f"__connect.errors.{name}", text.encode()) for name, text in headers.items()],
        )
    return topic


async def test_inspect_prints_before_after_source_and_operation(kafka_bootstrap_servers: str) -> None:
    topic = await topic_with_events(kafka_bootstrap_servers)
    arguments = ("inspect", "--topic", topic, "--from-beginning", "--limit", "4")
    code, output, errors = await run(*arguments, "--json", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert (code, errors) == (0, "")
    created, deleted, broken, letter = map(json.loads, output.splitlines())
    assert (created["op"], created["before"], created["after"]) == ("c", None, {"id": "u1", "name": "Ada"})
    assert (created["source"]["file"], created["source"]["pos"]) == ("binlog.000002", 7)
    assert created["ts_ms"] == 1795490254095
    assert (deleted["op"], deleted["before"], deleted["after"]) == ("d", {"id": "u1", "name": "Ada"}, None)
    assert "error" in broken
    assert "dead_letter" not in broken
    assert letter["dead_letter"] == "cdc.x-3@7: no such luck"

    code, output, _ = await run(*arguments, KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert code == 0
    assert f"create  {topic}-0@0" in output
    assert 'before  {"id": "u1", "name": "Ada"}' in output
    assert "not a change event" in output
    assert "dead letter: cdc.x-3@7: no such luck" in output


async def test_inspect_of_a_broker_that_is_not_there_is_one_sentence() -> None:
    code, _, errors = await run("inspect", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert code == 1
    assert "error: the broker at 127.0.0.1:1 does not answer" in errors
    assert "Traceback" not in errors


async def test_inspect_of_a_topic_that_is_not_there_is_one_sentence(kafka_bootstrap_servers: str) -> None:
    code, _, errors = await run("inspect", "--topic", "no.such", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert (code, errors) == (1, "error: topic no.such does not exist\n")


async def test_inspect_follows_the_topics_of_the_routes_file(kafka_bootstrap_servers: str, tmp_path: Path) -> None:
    topic = await topic_with_events(kafka_bootstrap_servers)
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"own: {{topic: {topic}, target: {{store: mongodb, collection: own}}, "
        "key: {_id: {from: id, type: string}}, fields: {name: string}}"
    )
    code, output, _ = await run(
        *("inspect", "--from-beginning", "--limit", "1", "--json"),
        KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers,
        SYNC_ROUTES_FILE=str(file),
    )
    assert code == 0
    assert json.loads(output)["topic"] == topic


async def test_missing_configuration_is_one_sentence() -> None:
    code, _, errors = await run("run")
    assert code == 1
    assert errors.startswith("error: the configuration is not valid: ")
    assert "MYSQL_URL" in errors
    assert errors.count("\n") == 1


async def test_routes_file_that_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("users: {topic: x}")
    code, _, errors = await run(
        "run",
        MYSQL_URL="mysql://a:b@127.0.0.1:1/tweets",
        MONGODB_URL="mongodb://127.0.0.1:1/tweets",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        SYNC_ROUTES_FILE=str(file),
    )
    assert code == 1
    assert "route users" in errors
    assert "Traceback" not in errors
