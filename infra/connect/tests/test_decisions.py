"""Decisions on repairs, and the problems that are reported. Times are seconds on the test's own clock."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registrar.connectors import InvalidDeclaration, connector, read_connectors
from registrar.reconcile_loop import POLL_BACKOFF
from registrar.redaction import redact
from registrar.state import (
    RESETTING,
    Action,
    AttemptSchedule,
    ConnectorMonitor,
    ConnectorState,
    parse_state,
    takes_snapshot,
)
from registrar.topics import load_topics
from service_kit.retry import Backoff
from support.connector import built_in_settings

CONFIG = {"connector.class": "x", "topic.prefix": "cdc.mysql"}
HEALTHY = ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=1.0)


def new_monitor() -> ConnectorMonitor:
    schedule = AttemptSchedule(Backoff(initial=2, maximum=60, jitter=0))
    return ConnectorMonitor("mysql", heartbeat_limit=30, schedule=schedule)


@pytest.mark.parametrize(
    ("current", "action"),
    [
        (HEALTHY, Action.NONE),
        (ConnectorState({**CONFIG, "name": "mysql"}, "RUNNING", ("RUNNING",), 1.0), Action.NONE),
        (ConnectorState(None), Action.PUT),
        (ConnectorState({**CONFIG, "tasks.max": "2"}, "RUNNING", ("RUNNING",), 1.0), Action.PUT),
        (ConnectorState(CONFIG, "RUNNING", ("FAILED",), 1.0), Action.RESTART),
        (ConnectorState(CONFIG, "FAILED", (), 1.0), Action.RESTART),
        (
            ConnectorState(CONFIG, "RUNNING", ("FAILED",), 1.0, "E: The db history topic is missing. You may"),
            Action.RESET,
        ),
        (
            ConnectorState(CONFIG, "RUNNING", ("RUNNING",), 1.0, "E: The db history topic is missing. You may"),
            Action.NONE,
        ),
        (ConnectorState(CONFIG, "UNASSIGNED", (), 1.0), Action.NONE),
        (ConnectorState(CONFIG, "PAUSED", ("PAUSED",), 1.0), Action.NONE),
        (ConnectorState(CONFIG, "PAUSED", ("FAILED",), 1.0), Action.NONE),
        (ConnectorState(CONFIG, "STOPPED", (), None), Action.NONE),
        # A registrar stopped it and ended before it resumed it.
        (ConnectorState({**CONFIG, **RESETTING}, "STOPPED", (), None), Action.RESET),
        (ConnectorState({**CONFIG, **RESETTING}, "RUNNING", ("RUNNING",), 1.0), Action.PUT),
    ],
)
def test_action_of_the_first_poll(current: ConnectorState, action: Action) -> None:
    assert new_monitor().decide(current, CONFIG, now=0) is action


def test_connector_that_is_declared_without_heartbeats_is_not_judged_by_them() -> None:
    """Debezium sends none by default. It is in a file of one's own, whose name Connect adds to its settings."""
    own = {**CONFIG, "name": "mysql"}
    tasks = [{"state": "RUNNING"}]
    entry = {"info": {"config": CONFIG}, "status": {"connector": {"state": "RUNNING"}, "tasks": tasks}}
    current, monitor = parse_state(entry, own), new_monitor()
    assert [monitor.decide(current, own, now=float(now)) for now in range(100)] == [Action.NONE] * 100
    assert monitor.problem(current, own) is None
    heartbeats = {**own, "heartbeat.interval.ms": "2000"}
    assert monitor.problem(parse_state(entry, heartbeats), own) == "no heartbeat yet"


@pytest.mark.parametrize(
    ("current", "problem"),
    [
        (HEALTHY, None),
        (ConnectorState(None), "not registered"),
        (ConnectorState(CONFIG, "RUNNING", ("FAILED",), 1.0), "connector RUNNING, tasks FAILED"),
        (
            ConnectorState(CONFIG, "RUNNING", ("FAILED",), 1.0, "E: denied"),
            "connector RUNNING, tasks FAILED: E: denied",
        ),
        (ConnectorState(CONFIG, "RUNNING", (), 1.0), "connector RUNNING, tasks none"),
        (
            ConnectorState(CONFIG, "PAUSED", ("PAUSED",), 1.0),
            "connector PAUSED: an operator paused it; to resume it, send Kafka Connect PUT /connectors/mysql/resume",
        ),
        (
            ConnectorState(CONFIG, "STOPPED", (), 1.0),
            "connector STOPPED: an operator stopped it; to resume it, send Kafka Connect PUT /connectors/mysql/resume",
        ),
        (
            ConnectorState({**CONFIG, **RESETTING}, "STOPPED", (), 1.0),
            "connector STOPPED: the registrar deletes its offsets and resumes it",
        ),
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",), None), "no heartbeat yet"),
        (
            ConnectorState(CONFIG, "RUNNING", ("RUNNING",), None, heartbeats_unknown="the broker is away"),
            "its heartbeats can't be read: the broker is away",
        ),
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",), 31.0), "last heartbeat 31 s ago"),
    ],
)
def test_running_alone_is_not_healthy(current: ConnectorState, problem: str | None) -> None:
    assert new_monitor().problem(current, CONFIG) == problem


SILENT = ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=500.0)


def restarts(monitor: ConnectorMonitor, current: ConnectorState, seconds: range) -> list[int]:
    """When the connector is restarted if it has this state at each of these seconds."""
    return [now for now in seconds if monitor.decide(current, CONFIG, now) is Action.RESTART]


@pytest.mark.parametrize(
    "silent",
    [
        SILENT,
        ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=None),
        ConnectorState(CONFIG, "RUNNING", (), heartbeat_age=None),
    ],
)
def test_silent_connector_is_restarted_after_it_had_time_for_a_heartbeat(silent: ConnectorState) -> None:
    assert restarts(new_monitor(), silent, range(1000, 1070)) == [1031, 1062]


MOVING = replace(SILENT, event_age=1.0)
LOADING = replace(SILENT, takes_snapshot=True)
TOO_LARGE = ConnectorState(
    CONFIG, "RUNNING", ("FAILED",), 1.0, "E: x; cause: a.RecordTooLargeException: The message is 40000000 bytes"
)


def test_connector_that_writes_events_is_healthy_without_heartbeats() -> None:
    assert restarts(new_monitor(), MOVING, range(1000, 1300)) == []
    assert new_monitor().problem(MOVING, CONFIG) is None
    assert new_monitor().problem(replace(MOVING, heartbeat_age=None), CONFIG) is None
    assert restarts(new_monitor(), replace(MOVING, event_age=300.0), range(1000, 1040)) == [1031]


def test_snapshot_may_be_silent_for_longer() -> None:
    """Locks are waited for, and tables are counted, before the first row."""
    monitor = ConnectorMonitor("mysql", heartbeat_limit=30, snapshot_limit=100)
    assert restarts(monitor, LOADING, range(1000, 1200)) == [1101]
    assert monitor.problem(LOADING, CONFIG) == "takes a snapshot, last event 500 s ago"


def test_cause_of_the_silence_is_part_of_the_problem() -> None:
    problem = new_monitor().problem(replace(SILENT, cause="a change event is over 16 MB"), CONFIG)
    assert problem == "last heartbeat 500 s ago: a change event is over 16 MB"


@pytest.mark.parametrize(
    ("offsets", "is_snapshot"),
    [
        ([], True),
        ([{"snapshot": "INITIAL", "snapshot_completed": False, "file": "b.1", "pos": 4}], True),
        ([{"sec": 1, "ord": 1, "initsync": True}], True),
        ([{"file": "b.1", "pos": 4, "gtids": "a:1"}], False),
        ([{"sec": 1, "ord": 1, "resume_token": "82"}, {"snapshot": "false"}], False),
    ],
)
def test_snapshot_is_known_by_the_offsets(offsets: list[dict[str, Any]], *, is_snapshot: bool) -> None:
    assert takes_snapshot(offsets) == is_snapshot


def test_event_that_lacks_columns_is_a_problem_that_names_the_setting() -> None:
    error = "DebeziumException: Error processing binlog event; cause: internal schema size 3, but row size 1, restart"
    problem = new_monitor().problem(ConnectorState(CONFIG, "RUNNING", ("FAILED",), failure=error), CONFIG)
    assert problem is not None
    assert problem.startswith(
        "an event lacks columns, because a session has changed rows with another binlog_row_image"
    )
    assert problem.endswith(error)


def test_too_large_record_is_a_problem_that_names_the_setting_and_no_reason_to_restart_for_ever() -> None:
    monitor = new_monitor()
    # The first time it may have failed before its topic accepted such records.
    assert restarts(monitor, TOO_LARGE, range(1000, 2000)) == [1000]
    problem = monitor.problem(TOO_LARGE, CONFIG)
    assert problem is not None
    assert problem.startswith("a change event is too large; set KAFKA_MAX_RECORD_BYTES of registrar and sync to more")
    assert problem.endswith("The message is 40000000 bytes")
    monitor.note_changed_topics()
    assert restarts(monitor, TOO_LARGE, range(2000, 3000)) == [2000]


def test_outage_of_connect_or_broker_does_not_make_a_connector_silent() -> None:
    monitor = new_monitor()
    assert restarts(monitor, SILENT, range(1000, 1025)) == []
    monitor.interrupt()
    assert restarts(monitor, SILENT, range(1200, 1240)) == [1231]


def test_registrar_that_was_suspended_counts_only_the_time_of_its_polls() -> None:
    monitor = new_monitor()
    assert restarts(monitor, SILENT, range(1000, 1010)) == []
    # Of the hour, ten seconds count.
    assert restarts(monitor, SILENT, range(4600, 4630)) == [4612]


@pytest.mark.parametrize(
    "without_heartbeats",
    [
        ConnectorState(CONFIG, "PAUSED", ("PAUSED",), heartbeat_age=500.0),
        ConnectorState(CONFIG, "STOPPED", (), heartbeat_age=500.0),
        ConnectorState(CONFIG, "UNASSIGNED", ("UNASSIGNED",), heartbeat_age=500.0),
        ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeats_unknown="topic x is missing"),
    ],
)
def test_connector_that_can_not_send_heartbeats_is_not_silent(without_heartbeats: ConnectorState) -> None:
    monitor = new_monitor()
    assert restarts(monitor, without_heartbeats, range(1000, 1100)) == []
    assert restarts(monitor, SILENT, range(1100, 1140)) == [1130]


def test_delay_of_repairs_grows_until_the_connector_is_healthy() -> None:
    failed = ConnectorState(CONFIG, "RUNNING", ("FAILED",), 1.0)
    monitor = new_monitor()

    def repairs(seconds: range) -> list[int]:
        return [now for now in seconds if monitor.decide(failed, CONFIG, now) is Action.RESTART]

    assert repairs(range(200)) == [0, 2, 6, 14, 30, 62, 122, 182]
    assert monitor.decide(HEALTHY, CONFIG, now=300) is Action.NONE
    assert repairs(range(301, 310)) == [301, 303, 307]


def test_delays_stay_bounded_in_a_long_outage() -> None:
    failed = ConnectorState(CONFIG, "RUNNING", ("FAILED",), 1.0)
    monitor = ConnectorMonitor("mysql", heartbeat_limit=30)
    repaired = [now for now in range(0, 60 * 2000, 60) if monitor.decide(failed, CONFIG, now) is Action.RESTART]
    assert len(repaired) == 2000
    assert 0.5 <= POLL_BACKOFF.delay(1) <= 1
    assert all(2.5 <= POLL_BACKOFF.delay(failures) <= 5 for failures in (50, 5000))


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
def test_failure_is_one_line_without_passwords(trace: str | None, failure: str | None) -> None:
    task = {"id": 0, "state": "FAILED", **({} if trace is None else {"trace": trace})}
    status = {"name": "mysql", "connector": {"state": "RUNNING", "worker_id": "x"}, "tasks": [task]}
    current = parse_state({"info": {"config": CONFIG}, "status": status}, CONFIG)
    assert (current.state, current.task_states, current.failure) == ("RUNNING", ("FAILED",), failure)


@pytest.mark.parametrize("where", ["Connect has", "the registrar has"])
def test_failure_has_no_password_of_a_configuration(where: str) -> None:
    secret = {**CONFIG, "database.password": "s3cret"}
    status = {"connector": {"state": "FAILED", "trace": "a.E: s3cret is wrong\nCaused by: b.E: s3cret"}, "tasks": []}
    in_connect, declared_config = (secret, CONFIG) if where == "Connect has" else (CONFIG, secret)
    current = parse_state({"info": {"config": in_connect}, "status": status}, declared_config)
    assert current.failure == "a.E: … is wrong; cause: b.E: …"


def declared(folder: Path, config: Mapping[str, str]) -> Path:
    (folder / "mysql.json").write_text(json.dumps(config))
    return folder


def test_variables_are_substituted_with_any_characters(tmp_path: Path) -> None:
    folder = declared(tmp_path, {**CONFIG, "database.password": "${PASSWORD}", "port": "${PORT}"})
    config = read_connectors(folder)["mysql"]
    read = connector("mysql", config, {"PASSWORD": 'a"b\\c$d', "PORT": "3306"})
    assert read.config["database.password"] == 'a"b\\c$d'
    assert (read.name, read.heartbeat_topic) == ("mysql", "__debezium-heartbeat.cdc.mysql")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "mysql.json: "),
        ('{"connector.class": "x"}', "mysql.json: topic.prefix is missing"),
        ('{"topic.prefix": "x"}', "mysql.json: connector.class is missing"),
    ],
)
def test_error_of_a_declaration_names_its_file(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "mysql.json").write_text(text)
    with pytest.raises(InvalidDeclaration, match=error):
        read_connectors(tmp_path)


def test_attempts_are_due_at_growing_intervals() -> None:
    schedule = AttemptSchedule(Backoff(initial=2, maximum=10, jitter=0))
    assert schedule.is_due(0)
    schedule.attempt(0)
    assert (schedule.is_due(1), schedule.is_due(2)) == (False, True)
    schedule.attempt(2)
    assert (schedule.is_due(5), schedule.is_due(6)) == (False, True)
    for _ in range(2000):
        schedule.attempt(6)
    assert (schedule.is_due(15), schedule.is_due(16)) == (False, True)
    schedule.reset()
    assert schedule.is_due(7)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("mongodb.connection.string", "mongodb://ada:s3cret%40@db/x", "s3cret@ is no password"),
        ("database.password", "s3cret", "denied s3cret"),
        ("mongodb.connection.string", "mongodb://ada:s3cret@db/x", "s3cret is no password"),
        ("mongodb.connection.string", "mongo://ada:s3cret@db", "Invalid: mongo://ada:s3cret@db"),
        ("database.ssl.keystore.password", "s3cret", "s3cret"),
        (
            "schema.history.internal.consumer.sasl.jaas.config",
            'org.apache.kafka.common.security.scram.ScramLoginModule required username="ada" password="s3cret";',
            "the password s3cret is too short",
        ),
        (
            "sasl.jaas.config",
            r'x.PlainLoginModule required username="ada" password="s3\\cret";',
            r"the password s3\cret is too short",
        ),
    ],
)
def test_secrets_of_a_configuration_are_redacted(name: str, value: str, text: str) -> None:
    redacted = redact(text, {name: value})
    assert "…" in redacted
    assert "s3" not in redacted


def test_topics_file_with_an_unknown_field_is_invalid(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("x: {partitons: 6}")
    with pytest.raises(InvalidDeclaration, match="partitons"):
        load_topics(file)


def test_declared_connectors_capture_nothing_that_holds_a_secret() -> None:
    captured = built_in_settings()
    assert captured["mysql-users"]["table.include.list"] == "auth.users"
    assert captured["mongodb-tweets"]["collection.include.list"] == "tweets.tweets,tweets.likes,tweets.follows"
