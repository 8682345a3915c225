"""Writes the Strimzi resources that say what routes.yaml and infra/connect say: topics, connectors, worker's settings.

`make generate` runs it; a test compares the files with what it would write. The variables SYNC_ROUTES_FILE,
KAFKA_MAX_RECORD_BYTES and CONNECT_EXACTLY_ONCE are read as by the registrar.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from registrar.connectors import Connector
from registrar.declared import declared_settings, declared_topics
from registrar.topics import TopicDeclaration
from service_kit.kafka_settings import HEADERS_BYTES, MAX_RECORD_BYTES
from sync_service.routes.loader import default_routes_file, load_routes_file

ROOT = Path(__file__).parents[2]
CONNECT = ROOT / "infra" / "connect"
STRIMZI = ROOT / "infra" / "kubernetes" / "components" / "strimzi"

API_VERSION = "kafka.strimzi.io/v1"
# The names of the Kafka cluster and of the Connect cluster as Strimzi's resources.
KAFKA_CLUSTER = "kafka"
CONNECT_CLUSTER = "tandem"
# The topic operator and the connectors use the default of the Kafka cluster, which should be 3.
BROKER_DEFAULT_REPLICAS = "-1"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_ENVIRONMENT_REFERENCE = re.compile(r"\$\{env:(\w+)\}")
# Fields of a KafkaConnect's `spec`; all other settings of the worker belong in its `config`.
_WORKER_FIELDS = {
    "group.id": "groupId",
    "config.storage.topic": "configStorageTopic",
    "offset.storage.topic": "offsetStorageTopic",
    "status.storage.topic": "statusStorageTopic",
}

Resource = dict[str, Any]


def files(
    routes: Path | None = None, max_record_bytes: int = MAX_RECORD_BYTES, *, exactly_once: bool = False
) -> dict[Path, str]:
    """Every generated file with its text. `routes` is the built-in `routes.yaml` by default."""
    file = load_routes_file(routes or default_routes_file())
    declared = [Connector(name, config) for name, config in sorted(declared_settings(file).items())]
    sized = [each.sized(max_record_bytes) for each in declared]
    connectors = [_connector(each.name, (each.exactly_once() if exactly_once else each).config) for each in sized]
    worker = _worker_settings() | ({"exactly.once.source.support": "enabled"} if exactly_once else {})
    topics = {
        name: topic.with_records_of(max_record_bytes + HEADERS_BYTES) for name, topic in declared_topics(file).items()
    }
    return {
        STRIMZI / "topics.yaml": _text(
            "routes.yaml and infra/connect/topics.yaml", [_topic(*each) for each in topics.items()]
        ),
        STRIMZI / "connectors.yaml": _text("routes.yaml", connectors),
        STRIMZI / "worker.yaml": _text(
            "infra/connect/worker.properties and routes.yaml",
            [_worker(worker, _environment(connectors))],
        ),
    }


def _topic(name: str, declared: TopicDeclaration) -> Resource:
    # Names of Kubernetes resources have no underscores.
    resource_name = name.strip("_").replace("_", "-")
    spec: Resource = {} if resource_name == name else {"topicName": name}
    spec |= {"partitions": declared.partitions, "config": declared.config}
    # A KafkaTopic must be in the namespace of the Kafka cluster.
    return _resource("KafkaTopic", resource_name, namespace=KAFKA_CLUSTER, cluster=KAFKA_CLUSTER, spec=spec)


def _connector(name: str, declared: Mapping[str, str]) -> Resource:
    """Secrets stay variables of Connect's pods (`${env:NAME}`), so that Connect's configuration topic has none."""
    known = {"KAFKA_BOOTSTRAP_SERVERS": _bootstrap_servers(), "REGISTRAR_REPLICATION_FACTOR": BROKER_DEFAULT_REPLICAS}

    def replaced(variable: re.Match[str]) -> str:
        return known.get(variable[1], f"${{env:{variable[1]}}}")

    config = {key: _VARIABLE.sub(replaced, value) for key, value in declared.items()}
    spec = {
        "class": config.pop("connector.class"),
        "tasksMax": int(config.pop("tasks.max")),
        # Without a limit of attempts: a connector that failed can work again when its database is back.
        "autoRestart": {"enabled": True},
        "config": config,
    }
    return _resource("KafkaConnector", name, namespace="tandem", cluster=CONNECT_CLUSTER, spec=spec)


def _worker(settings: Mapping[str, str], variables: Iterable[str]) -> Resource:
    """A patch of connect.yaml. The Secret `connectors` has the variables of the connectors."""
    spec: Resource = {field: settings[name] for name, field in _WORKER_FIELDS.items()}
    spec["config"] = {name: value for name, value in settings.items() if name not in _WORKER_FIELDS}
    environment = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "connectors", "key": name}}} for name in variables
    ]
    spec["template"] = {"connectContainer": {"env": environment}}
    metadata = {"name": CONNECT_CLUSTER, "namespace": "tandem"}
    return {"apiVersion": API_VERSION, "kind": "KafkaConnect", "metadata": metadata, "spec": spec}


def _worker_settings() -> dict[str, str]:
    lines = (CONNECT / "worker.properties").read_text().splitlines()
    return dict(line.split("=", maxsplit=1) for line in lines if line and not line.startswith("#"))


def _environment(connectors: Iterable[Resource]) -> list[str]:
    """The variables that the connectors name, in their order."""
    return list(dict.fromkeys(_ENVIRONMENT_REFERENCE.findall(json.dumps([*connectors]))))


def _bootstrap_servers() -> str:
    servers: str = yaml.safe_load((STRIMZI / "connect.yaml").read_text())["spec"]["bootstrapServers"]
    return servers


def _resource(kind: str, name: str, *, namespace: str, cluster: str, spec: Resource) -> Resource:
    metadata = {"name": name, "namespace": namespace, "labels": {"strimzi.io/cluster": cluster}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _text(source: str, resources: Iterable[Resource]) -> str:
    head = f"# Generated from {source} by `make generate`. Do not edit.\n"
    return head + "---\n".join(yaml.safe_dump(each, sort_keys=False, width=1000) for each in resources)


if __name__ == "__main__":
    largest = int(os.environ.get("KAFKA_MAX_RECORD_BYTES", MAX_RECORD_BYTES))
    own = Path(os.environ["SYNC_ROUTES_FILE"]) if os.environ.get("SYNC_ROUTES_FILE") else None
    for path, text in files(own, largest, exactly_once=os.environ.get("CONNECT_EXACTLY_ONCE") == "true").items():
        path.write_text(text)
