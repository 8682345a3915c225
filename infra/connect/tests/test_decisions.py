"""What the registrar makes of what it sees. Times are seconds on a clock of the test's."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from registrar.connectors import InvalidDeclaration, declarations_folder, load_connectors
from registrar.observation import RESETTING, Action, Backoff, Observation, Watch
from registrar.redaction import redact
from registrar.topics import load_topics
from registrar.watching import observation, pause_after

CONFIG = {"connector.class": "x", "topic.prefix": "cdc.mysql"}
WELL = Observation(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=1.0)


def watch() -> Watch:
    return Watch("mysql", heartbeat_limit=30, backoff=Backoff(first=2, longest=60))


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (WELL, Action.NONE),
        (Observation({**CONFIG, "name": "mysql"}, "RUNNING", ("RUNNING",), 1.0), Action.NONE),
        (Observation(None), Action.PUT),
        (Observation({**CONFIG, "tasks.max": "2"}, "RUNNING", ("RUNNING",), 1.0), Action.PUT),
        (Observation(CONFIG, "RUNNING", ("FAILED",), 1.0), Action.RESTART),
        (Observation(CONFIG, "FAILED", (), 1.0), Action.RESTART),
        (Observation(CONFIG, "RUNNING", ("FAILED",), 1.0, "E: The db history topic is missing. You may"), Action.RESET),
        (Observation(CONFIG, "RUNNING", ("RUNNING",), 1.0, "E: The db history topic is missing. You may"), Action.NONE),
        (Observation(CONFIG, "UNASSIGNED", (), 1.0), Action.NONE),
        (Observation(CONFIG, "PAUSED", ("PAUSED",), 1.0), Action.NONE),
        (Observation(CONFIG, "PAUSED", ("FAILED",), 1.0), Action.NONE),
        (Observation(CONFIG, "STOPPED", (), None), Action.NONE),
        # A registrar has stopped it and was ended before it could resume it.
        (Observation({**CONFIG, **RESETTING}, "STOPPED", (), None), Action.RESET),
        (Observation({**CONFIG, **RESETTING}, "RUNNING", ("RUNNING",), 1.0), Action.PUT),
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
        (Observation(CONFIG, "RUNNING", ("FAILED",), 1.0, "E: denied"), "connector RUNNING, tasks FAILED: E: denied"),
        (Observation(CONFIG, "RUNNING", (), 1.0), "connector RUNNING, tasks none"),
        (
            Observation(CONFIG, "PAUSED", ("PAUSED",), 1.0),
            "connector PAUSED: an operator paused it; to resume it, send Kafka Connect PUT /connectors/mysql/resume",
        ),
        (
            Observation(CONFIG, "STOPPED", (), 1.0),
            "connector STOPPED: an operator stopped it; to resume it, send Kafka Connect PUT /connectors/mysql/resume",
        ),
        (
            Observation({**CONFIG, **RESETTING}, "STOPPED", (), 1.0),
            "connector STOPPED: the registrar deletes its offsets and resumes it",
        ),
        (Observation(CONFIG, "RUNNING", ("RUNNING",), None), "no heartbeat yet"),
        (
            Observation(CONFIG, "RUNNING", ("RUNNING",), None, heartbeats_unknown="the broker is away"),
            "its heartbeats can't be read: the broker is away",
        ),
        (Observation(CONFIG, "RUNNING", ("RUNNING",), 31.0), "last heartbeat 31 s ago"),
    ],
)
def test_running_alone_is_not_healthy(seen: Observation, problem: str | None) -> None:
    assert watch().problem(seen, CONFIG) == problem


SILENT = Observation(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=500.0)


def restarts(watched: Watch, seen: Observation, seconds: range) -> list[int]:
    """When it is restarted, if it looks like this at each of these seconds."""
    return [now for now in seconds if watched.decide(seen, CONFIG, now) is Action.RESTART]


@pytest.mark.parametrize(
    "silent",
    [
        SILENT,
        Observation(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=None),
        Observation(CONFIG, "RUNNING", (), heartbeat_age=None),
    ],
)
def test_silent_connector_is_restarted_but_not_before_it_had_time_to_speak(silent: Observation) -> None:
    assert restarts(watch(), silent, range(1000, 1070)) == [1031, 1062]


def test_outage_of_connect_or_broker_is_no_silence_of_the_connector() -> None:
    watched = watch()
    assert restarts(watched, SILENT, range(1000, 1025)) == []
    watched.interrupt()
    assert restarts(watched, SILENT, range(1200, 1240)) == [1231]


def test_registrar_that_slept_counts_only_the_time_that_it_watched() -> None:
    watched = watch()
    assert restarts(watched, SILENT, range(1000, 1010)) == []
    # Of the hour, ten seconds count.
    assert restarts(watched, SILENT, range(4600, 4630)) == [4612]


@pytest.mark.parametrize(
    "speechless",
    [
        Observation(CONFIG, "PAUSED", ("PAUSED",), heartbeat_age=500.0),
        Observation(CONFIG, "STOPPED", (), heartbeat_age=500.0),
        Observation(CONFIG, "UNASSIGNED", ("UNASSIGNED",), heartbeat_age=500.0),
        Observation(CONFIG, "RUNNING", ("RUNNING",), heartbeats_unknown="topic x is missing"),
    ],
)
def test_connector_that_can_not_speak_is_not_restarted_until_it_could_have_spoken(speechless: Observation) -> None:
    watched = watch()
    assert restarts(watched, speechless, range(1000, 1100)) == []
    assert restarts(watched, SILENT, range(1100, 1140)) == [1130]


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
    watched = Watch("mysql", heartbeat_limit=30)
    repaired = [now for now in range(0, 60 * 2000, 60) if watched.decide(failed, CONFIG, now) is Action.RESTART]
    assert len(repaired) == 2000
    assert pause_after(1) == 1
    assert pause_after(5000) == pause_after(50) == 5


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
    seen = observation({"info": {"config": CONFIG}, "status": status}, CONFIG)
    assert (seen.state, seen.task_states, seen.failure) == ("RUNNING", ("FAILED",), failure)


@pytest.mark.parametrize("where", ["Connect has", "the registrar has"])
def test_failure_has_no_password_of_a_configuration(where: str) -> None:
    secret = {**CONFIG, "database.password": "s3cret"}
    status = {"connector": {"state": "FAILED", "trace": "a.E: s3cret is wrong\nCaused by: b.E: s3cret"}, "tasks": []}
    in_connect, wanted = (secret, CONFIG) if where == "Connect has" else (CONFIG, secret)
    seen = observation({"info": {"config": in_connect}, "status": status}, wanted)
    assert seen.failure == "a.E: … is wrong; cause: b.E: …"


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
        ('{"connector.class": "x"}', "mysql.json: topic.prefix is missing"),
        ('{"topic.prefix": "x"}', "mysql.json: connector.class is missing"),
    ],
)
def test_declaration_that_can_not_be_used_names_its_file(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "mysql.json").write_text(text)
    with pytest.raises(InvalidDeclaration, match=complaint):
        load_connectors(tmp_path, {})


def test_attempts_are_due_at_growing_intervals_and_soon_after_a_success() -> None:
    backoff = Backoff(first=2, longest=10)
    assert backoff.is_due(0)
    backoff.attempt(0)
    assert (backoff.is_due(1), backoff.is_due(2)) == (False, True)
    backoff.attempt(2)
    assert (backoff.is_due(5), backoff.is_due(6)) == (False, True)
    for _ in range(2000):
        backoff.attempt(6)
    assert (backoff.is_due(15), backoff.is_due(16)) == (False, True)
    backoff.reset()
    assert backoff.is_due(7)


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
def test_secrets_of_a_configuration_are_not_repeated(name: str, value: str, text: str) -> None:
    redacted = redact(text, {name: value})
    assert "…" in redacted
    assert "s3" not in redacted


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
