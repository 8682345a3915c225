"""The resources of Strimzi and KEDA agree with the files that Docker and the embedded stack use."""

import json
import re

from infra.kubernetes import generate
from registrar.connectors import Connector
from registrar.declared import declared_topics
from service_kit.kafka_settings import MAX_RECORD_BYTES
from support.connector import built_in_settings
from support.dockerfiles import stage, stages
from support.manifests import ROOT, Cluster
from sync_service.routes.loader import default_routes_file, load_routes_file
from sync_service.settings import Settings

CONNECT = ROOT / "infra" / "connect"


def test_generated_files_are_up_to_date() -> None:
    for file, text in generate.files().items():
        assert file.read_text() == text, f"{file.name} is out of date: run `make generate`"


def test_connectors_are_those_of_the_registrar(strimzi: Cluster) -> None:
    connectors = {each["metadata"]["name"]: each for each in strimzi.of_kind("KafkaConnector")}
    settings = built_in_settings()
    assert connectors.keys() == settings.keys()
    for name, connector in connectors.items():
        declared = dict(Connector(name, settings[name]).sized(MAX_RECORD_BYTES).config)
        spec = connector["spec"]
        assert connector["metadata"]["labels"]["strimzi.io/cluster"] == "tandem"
        assert (spec["class"], str(spec["tasksMax"])) == (declared.pop("connector.class"), declared.pop("tasks.max"))
        assert spec["config"].keys() == declared.keys()
        fixed = {key: value for key, value in declared.items() if "${" not in value}
        assert {key: spec["config"][key] for key in fixed} == fixed
        # No variable but those of Connect's pods is left.
        assert not re.search(r"\$\{(?!env:CDC_)", json.dumps(spec))


def test_schema_history_is_on_the_broker_of_connect_with_its_replicas(strimzi: Cluster) -> None:
    config = strimzi.get("KafkaConnector", "mysql-users")["spec"]["config"]
    servers = strimzi.get("KafkaConnect", "tandem")["spec"]["bootstrapServers"]
    assert config["schema.history.internal.kafka.bootstrap.servers"] == servers
    assert config["topic.creation.default.replication.factor"] == "-1", "the default of the brokers"


def test_connect_has_every_variable_that_a_connector_names_and_no_other(strimzi: Cluster) -> None:
    connect = strimzi.get("KafkaConnect", "tandem")
    assert connect["metadata"]["annotations"]["strimzi.io/use-connector-resources"] == "true"
    spec = connect["spec"]
    named = set(re.findall(r"\$\{env:(\w+)\}", json.dumps(strimzi.of_kind("KafkaConnector"))))
    references = {
        each["name"]: each["valueFrom"]["secretKeyRef"] for each in spec["template"]["connectContainer"]["env"]
    }
    assert references.keys() == named
    for name, reference in references.items():
        assert reference["key"] in strimzi.get("Secret", reference["name"])["data"]
        assert re.match(spec["config"]["config.providers.env.param.allowlist.pattern"], name)


def test_connect_has_the_settings_of_every_worker(strimzi: Cluster) -> None:
    spec = strimzi.get("KafkaConnect", "tandem")["spec"]
    own = {spec["configStorageTopic"], spec["offsetStorageTopic"], spec["statusStorageTopic"]}
    assert own <= declared_topics(load_routes_file(default_routes_file())).keys()
    assert spec["groupId"] == "tandem-connect"
    assert {"key.converter.schemas.enable", "offset.flush.interval.ms", "config.providers"} <= spec["config"].keys()
    assert not {"group.id", "config.storage.topic"} & spec["config"].keys(), "Strimzi refuses them in config"


def test_topics_are_those_of_the_registrar(strimzi: Cluster) -> None:
    topics = strimzi.of_kind("KafkaTopic")
    names = {each["spec"].get("topicName", each["metadata"]["name"]) for each in topics}
    assert names == declared_topics(load_routes_file(default_routes_file())).keys()
    for topic in topics:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", topic["metadata"]["name"])


def test_sync_connect_and_keda_use_the_same_broker(strimzi: Cluster) -> None:
    (scaled,) = strimzi.of_kind("ScaledObject")
    named = {
        strimzi.variables("sync")["KAFKA_BOOTSTRAP_SERVERS"],
        strimzi.get("KafkaConnect", "tandem")["spec"]["bootstrapServers"],
        scaled["spec"]["triggers"][0]["metadata"]["bootstrapServers"],
    }
    assert len(named) == 1


def test_sync_is_scaled_by_the_lag_of_its_group_up_to_the_number_of_partitions(strimzi: Cluster) -> None:
    (scaled,) = strimzi.of_kind("ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "kafka"
    # Like sync-service: KEDA's default would count no lag of a partition without an offset.
    assert trigger["metadata"]["offsetResetPolicy"] == "earliest"
    group = strimzi.variables("sync").get("SYNC_GROUP_ID", Settings.model_fields["sync_group_id"].default)
    assert trigger["metadata"]["consumerGroup"] == group
    file = load_routes_file(default_routes_file())
    topics = declared_topics(file)
    partitions = {topics[route.topic].partitions for route in file.routes}
    assert {scaled["spec"]["maxReplicaCount"]} == partitions


def test_strimzi_replaces_the_registrar(strimzi: Cluster) -> None:
    assert "registrar" not in strimzi.deployments
    assert not [each for each in strimzi.of_kind("Secret") if each["metadata"]["name"].startswith("registrar")]


def test_image_of_connect_has_the_connectors_of_compose() -> None:
    debezium, _ = stages(generate.STRIMZI / "Dockerfile")
    assert debezium.base == stage("connect").base


def test_version_of_connect_is_that_of_its_image_and_of_every_kafka(strimzi: Cluster) -> None:
    version = strimzi.get("KafkaConnect", "tandem")["spec"]["version"]
    _, connect = stages(generate.STRIMZI / "Dockerfile")
    embedded = re.findall("<kafka.version>(.+)</kafka.version>", (ROOT / "infra/embedded/jars/kafka.xml").read_text())
    assert connect.base.endswith(f"-kafka-{version}")
    assert stage("kafka").base.endswith(f":{version}")
    assert embedded == [version]
