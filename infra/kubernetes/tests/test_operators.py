"""Resources of Strimzi and KEDA say what the files of the repository say, which Docker and the embedded stack use."""

import json
import re

import yaml

from registrar.topics import load_topics
from support.manifests import ROOT, Cluster
from sync_service.routes.loader import load_routes
from sync_service.settings import Settings

CONNECT = ROOT / "infra" / "connect"


def test_connectors_are_those_of_the_registrar(strimzi: Cluster) -> None:
    servers = strimzi.get("KafkaConnect", "tandem")["spec"]["bootstrapServers"]
    declared = {}
    for file in (CONNECT / "connectors").glob("*.json"):
        text = file.read_text().replace("${KAFKA_BOOTSTRAP_SERVERS}", servers)
        # Replicas are the cluster's business, as those of Strimzi's topics are.
        config = json.loads(text.replace("${REGISTRAR_REPLICATION_FACTOR}", "-1"))
        declared[file.stem] = {key: re.sub(r"\$\{(\w+)\}", r"${env:\1}", value) for key, value in config.items()}
    made = {}
    for connector in strimzi.of_kind("KafkaConnector"):
        spec = connector["spec"]
        assert connector["metadata"]["labels"]["strimzi.io/cluster"] == "tandem"
        assert not {"connector.class", "tasks.max"} & spec["config"].keys()
        made[connector["metadata"]["name"]] = {
            "connector.class": spec["class"],
            "tasks.max": str(spec["tasksMax"]),
            **spec["config"],
        }
    assert made == declared


def test_connect_has_every_variable_that_a_connector_names_and_shows_no_other(strimzi: Cluster) -> None:
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


def test_connect_works_as_the_embedded_one_does(strimzi: Cluster) -> None:
    spec = strimzi.get("KafkaConnect", "tandem")["spec"]
    properties = dict(
        line.partition("=")[::2]
        for line in (CONNECT / "worker.properties").read_text().splitlines()
        if line and not line.startswith("#")
    )
    of_kafka = {
        "group.id": spec["groupId"],
        "config.storage.topic": spec["configStorageTopic"],
        "offset.storage.topic": spec["offsetStorageTopic"],
        "status.storage.topic": spec["statusStorageTopic"],
        **{key: json.dumps(value) if isinstance(value, bool) else str(value) for key, value in spec["config"].items()},
    }
    # Replicas are the cluster's business, and the timings of the embedded broker are its own.
    shared = {
        key: value for key, value in properties.items() if key in of_kafka and not key.endswith("replication.factor")
    }
    assert {key: of_kafka[key] for key in shared} == shared
    assert {"group.id", "key.converter.schemas.enable", "offset.flush.interval.ms"} <= shared.keys()


def test_topics_are_those_of_the_registrar(strimzi: Cluster) -> None:
    declared = load_topics(CONNECT / "topics.yaml")
    made = {
        each["spec"].get("topicName", each["metadata"]["name"]): (
            each["spec"]["partitions"],
            each["spec"].get("config", {}),
        )
        for each in strimzi.of_kind("KafkaTopic")
    }
    assert made == {name: (topic.partitions, topic.config) for name, topic in declared.items()}
    for topic in strimzi.of_kind("KafkaTopic"):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", topic["metadata"]["name"])


def test_everybody_means_the_same_broker(strimzi: Cluster) -> None:
    (scaled,) = strimzi.of_kind("ScaledObject")
    named = {
        strimzi.variables("sync")["KAFKA_BOOTSTRAP_SERVERS"],
        strimzi.get("KafkaConnect", "tandem")["spec"]["bootstrapServers"],
        scaled["spec"]["triggers"][0]["metadata"]["bootstrapServers"],
    }
    assert len(named) == 1


def test_sync_is_scaled_by_the_lag_of_its_own_group_as_far_as_there_are_partitions(strimzi: Cluster) -> None:
    (scaled,) = strimzi.of_kind("ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "kafka"
    group = strimzi.variables("sync").get("SYNC_GROUP_ID", Settings.model_fields["sync_group_id"].default)
    assert trigger["metadata"]["consumerGroup"] == group
    topics = load_topics(CONNECT / "topics.yaml")
    routes = load_routes(ROOT / "services/sync-service/routes.yaml")
    partitions = {topics[route.topic].partitions for route in routes}
    assert {scaled["spec"]["maxReplicaCount"]} == partitions


def test_strimzi_takes_the_registrars_place(strimzi: Cluster) -> None:
    assert "registrar" not in strimzi.deployments
    assert not [each for each in strimzi.of_kind("Secret") if each["metadata"]["name"].startswith("registrar")]


def test_connect_s_image_has_the_connectors_of_compose() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    dockerfile = (ROOT / "infra/kubernetes/components/strimzi/Dockerfile").read_text()
    assert f"FROM {compose['services']['connect']['image']} AS debezium" in dockerfile


def test_connect_s_version_is_its_image_s_and_the_minor_one_of_every_other_kafka(strimzi: Cluster) -> None:
    version = strimzi.get("KafkaConnect", "tandem")["spec"]["version"]
    dockerfile = (ROOT / "infra/kubernetes/components/strimzi/Dockerfile").read_text()
    assert re.findall(r"^FROM quay.io/strimzi/kafka:\S+-kafka-(\S+)$", dockerfile, re.MULTILINE) == [version]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]["image"]
    embedded = re.findall("<kafka.version>(.+)</kafka.version>", (ROOT / "infra/embedded/jars/kafka.xml").read_text())
    # Strimzi has each minor version in a patch of its own choice.
    minors = {each.rpartition(".")[0] for each in (version, compose.partition(":")[2], *embedded)}
    assert len(minors) == 1
