"""What the registrar makes of what it sees. Times are seconds on a clock of the test's."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from registrar.connectors import InvalidDeclaration, declarations_folder, load_connectors
from registrar.observation import Action, Observation, Watch
from registrar.topics import load_topics
from registrar.watching import observation, pause_after

CONFIG = {"connector.class": "x", "topic.prefix": "cdc.mysql"}
WELL = Observation(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=1.0)


def watch() -> Watch:
    return Watch(heartbeat_limit=30, first_delay=2, longest_delay=60)


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (WELL, Action.NONE),
        (Observation({**CONFIG, "name": "mysql"}, "RUNNING", ("RUNNING",), 1.0), Action.NONE),
        (Observation(None), Action.PUT),
        (Observation({**CONFIG, "tasks.max": "2"}, "RUNNING", ("RUNNING",), 1.0), Action.PUT),
        (Observation(CONFIG, "RUNNING", ("FAILED",), 1.0), Action.RESTART),
        (Observation(CONFIG, "FAILED", (), 1.0), Action.RESTART),
        (Observation(CONFIG, "UNASSIGNED", (), 1.0), Action.NONE),
        (Observation(CONFIG, "PAUSED", ("PAUSED",), 1.0), Action.NONE),
    ],
)
def test_first_look(seen: Observation, action: Action) -> None:
    assert watch().decide(seen, CONFIG, now=0) is action


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (WELL, None),
        (Observation(None), "not registered"),
        (Observation(CONFIG, "RUNNING", ("FAILED",), 1.0), "connector RUNNING, tasks FAILED"),
        (Observation(CONFIG, "RUNNING", ("RUNNING",), None), "no heartbeat yet"),
        (Observation(CONFIG, "RUNNING", ("RUNNING",), 31.0), "last heartbeat 31 s ago"),
    ],
)
def test_running_alone_is_not_healthy(seen: Observation, problem: str | None) -> None:
    assert watch().problem(seen, CONFIG) == problem


@pytest.mark.parametrize("age", [None, 500.0])
def test_silent_connector_is_restarted_but_not_before_it_had_time_to_speak(age: float | None) -> None:
    silent = Observation(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=age)
    watched = watch()
    assert watched.decide(silent, CONFIG, now=1000) is Action.NONE
    assert watched.decide(silent, CONFIG, now=1029) is Action.NONE
    assert watched.decide(silent, CONFIG, now=1031) is Action.RESTART
    assert watched.decide(silent, CONFIG, now=1032) is Action.NONE
    assert watched.decide(silent, CONFIG, now=1062) is Action.RESTART


def test_repairs_that_do_not_help_are_tried_ever_less_often_and_at_once_after_it_was_well() -> None:
    failed = Observation(CONFIG, "RUNNING", ("FAILED",), 1.0)
    watched = watch()

    def repairs(seconds: range) -> list[int]:
        return [now for now in seconds if watched.decide(failed, CONFIG, now) is Action.RESTART]

    assert repairs(range(200)) == [0, 2, 6, 14, 30, 62, 122, 182]
    assert watched.decide(WELL, CONFIG, now=300) is Action.NONE
    assert repairs(range(301, 310)) == [301, 303, 307]


def test_no_outage_is_too_long_to_reckon_with() -> None:
    failed = Observation(CONFIG, "RUNNING", ("FAILED",), 1.0)
    watched = Watch(heartbeat_limit=30)
    repaired = [now for now in range(0, 60 * 2000, 60) if watched.decide(failed, CONFIG, now) is Action.RESTART]
    assert len(repaired) == 2000
    assert pause_after(1) == 1
    assert pause_after(5000) == pause_after(50) == 15


@pytest.mark.parametrize(
    ("trace", "failure"),
    [
        (None, None),
        ("  \n", None),
        ("a.b.ConnectException: stopped\n\tat a.b.C", "a.b.ConnectException: stopped"),
        (
            "a.ConnectException: stopped\n\tat a.B\nCaused by: b.First: x\n\tat b.C\nCaused by: c.Last: denied\n",
            "a.ConnectException: stopped; cause: c.Last: denied",
        ),
        ("a.E: mongodb://debezium:secret@mongo:27017/?x=1 is away", "a.E: mongodb://…@mongo:27017/?x=1 is away"),
        ("a.E: " + "x" * 1000, "a.E: " + "x" * 495),
    ],
)
def test_failure_is_told_in_a_line_and_without_passwords(trace: str | None, failure: str | None) -> None:
    task = {"id": 0, "state": "FAILED", **({} if trace is None else {"trace": trace})}
    status = {"name": "mysql", "connector": {"state": "RUNNING", "worker_id": "x"}, "tasks": [task]}
    seen = observation({"info": {"config": CONFIG}, "status": status}, heartbeat_age=1.0)
    assert (seen.state, seen.task_states, seen.failure) == ("RUNNING", ("FAILED",), failure)


def declared(folder: Path, config: Mapping[str, str]) -> Path:
    (folder / "mysql.json").write_text(json.dumps(config))
    return folder


def test_variables_are_filled_in_whatever_characters_they_hold(tmp_path: Path) -> None:
    folder = declared(tmp_path, {**CONFIG, "database.password": "${PASSWORD}", "port": "${PORT}"})
    (connector,) = load_connectors(folder, {"PASSWORD": 'a"b\\c$d', "PORT": "3306"})
    assert connector.config["database.password"] == 'a"b\\c$d'
    assert (connector.name, connector.heartbeat_topic) == ("mysql", "__debezium-heartbeat.cdc.mysql")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"topic.prefix": "${MISSING}"}', "mysql.json: the environment variable MISSING is not set"),
        ("{", "mysql.json: "),
        ("{}", "mysql.json: topic.prefix is missing"),
    ],
)
def test_declaration_that_can_not_be_used_names_its_file(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "mysql.json").write_text(text)
    with pytest.raises(InvalidDeclaration, match=complaint):
        load_connectors(tmp_path, {})


def test_topics_file_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("x: {partitons: 6}")
    with pytest.raises(InvalidDeclaration, match="partitons"):
        load_topics(file)


def test_declared_connectors_capture_nothing_that_holds_a_secret() -> None:
    variables = (
        "CDC_MYSQL_HOST CDC_MYSQL_PORT CDC_MYSQL_USER CDC_MYSQL_PASSWORD CDC_MONGODB_URL KAFKA_BOOTSTRAP_SERVERS "
        "REGISTRAR_REPLICATION_FACTOR"
    )
    connectors = load_connectors(declarations_folder() / "connectors", dict.fromkeys(variables.split(), "x"))
    captured = {connector.name: connector.config for connector in connectors}
    assert captured["mysql-users"]["table.include.list"] == "auth.users"
    assert captured["mongodb-tweets"]["collection.include.list"] == "tweets.tweets,tweets.likes,tweets.follows"
