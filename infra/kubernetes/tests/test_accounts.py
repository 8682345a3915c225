"""The Jobs that create the accounts do what the one-shots of docker-compose.yml do."""

import base64
import re
from urllib.parse import urlsplit

import pytest

from support.dockerfiles import stage
from support.manifests import ROOT, Cluster, Manifest, build_of, container_of, labels_of, pod_of, selects

JOBS = ("mysql-init", "mongo-init")


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest, example: Cluster) -> Manifest:
    return example.get("Job", request.param)


def variables(example: Cluster, job: Manifest) -> dict[str, str]:
    (source,) = container_of(job)["envFrom"]
    secret = example.get("Secret", source["secretRef"]["name"])["data"]
    return {name: base64.b64decode(value).decode() for name, value in secret.items()}


def test_job_runs_the_script_of_its_image(example: Cluster, job: Manifest, compose: Manifest) -> None:
    container = container_of(job)
    service = compose["services"][job["metadata"]["name"]]
    image = service["image"].replace("localhost/", "registry.example/")
    assert container["image"].partition(":")[0] == image
    (script,) = re.findall(r"/etc/tandem/accounts\.\w+", " ".join(container["command"]))
    copied = stage(build_of(compose, job["metadata"]["name"])["target"]).copied
    read = set(re.findall(r"(?:process\.env\.|\$\{?)((?:MYSQL|MONGO)_[A-Z_]+)", (ROOT / copied[script]).read_text()))
    assert read - {"MYSQL_HOST"}
    assert read <= variables(example, job).keys()


def test_passwords_are_those_of_the_programs(example: Cluster, job: Manifest) -> None:
    given = variables(example, job)
    addresses = {
        "MYSQL_AUTH_PASSWORD": example.variables("auth")["MYSQL_URL"],
        "MYSQL_SYNC_PASSWORD": example.variables("sync")["MYSQL_URL"],
        "MONGO_SYNC_PASSWORD": example.variables("sync")["MONGODB_URL"],
        "MONGO_TWEET_PASSWORD": example.variables("tweet")["MONGODB_URL"],
        "MONGO_DEBEZIUM_PASSWORD": example.variables("registrar")["CDC_MONGODB_URL"],
    }
    assert {name: given[name] for name in addresses} == {
        name: urlsplit(address).password for name, address in addresses.items()
    }
    assert given["MYSQL_DEBEZIUM_PASSWORD"] == example.variables("registrar")["CDC_MYSQL_PASSWORD"]


def test_job_is_repeated_until_it_succeeds_and_then_removed(job: Manifest) -> None:
    assert pod_of(job)["restartPolicy"] == "OnFailure"
    # A changed Secret has another name, and a Job can't be changed.
    assert job["spec"]["ttlSecondsAfterFinished"] > 0


def test_job_has_the_least_privileges(job: Manifest) -> None:
    pod, container = pod_of(job), container_of(job)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}


def test_job_reaches_the_databases_and_nothing_reaches_it(example: Cluster, job: Manifest) -> None:
    labels = labels_of(job)
    policies = [each for each in example.of_kind("NetworkPolicy") if selects(each["spec"]["podSelector"], labels)]
    anywhere = {
        port["port"]
        for policy in policies
        for rule in policy["spec"].get("egress", [])
        if "to" not in rule
        for port in rule["ports"]
    }
    assert anywhere == {3306, 27017}
    assert not [each for each in policies if each["spec"].get("ingress")]
