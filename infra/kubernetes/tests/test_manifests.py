"""The manifests are valid, fit together, and agree with the rest of the repository. No cluster is asked."""

import re
import string
import tomllib

import kubernetes_validate
import pytest
from pydantic import ValidationError

from auth_service.settings import Settings as AuthSettings
from registrar.connectors import load_connectors
from registrar.settings import Settings as RegistrarSettings
from service_kit.server import SHUTDOWN_SECONDS
from service_kit.settings import ServiceSettings
from support.manifests import ROOT, Cluster, Manifest, container_of, labels_of, pod_of, selects
from sync_service.settings import Settings as SyncSettings
from tweet_service.settings import Settings as TweetSettings

KUBERNETES = "1.37"
# Of operators; what of them is checked, and how, is in infra/kubernetes/README.md.
CUSTOM_KINDS = {"ScaledObject", "KafkaTopic", "KafkaConnect", "KafkaConnector"}
SETTINGS: dict[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "tweet": TweetSettings,
    "sync": SyncSettings,
    "registrar": RegistrarSettings,
}


def test_every_built_in_kind_is_valid_to_the_last_field(cluster: Cluster) -> None:
    for manifest in cluster.manifests:
        if manifest["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_a_field_that_does_not_exist_is_found(example: Cluster) -> None:
    gateway = example.deployments["gateway"]
    wrong = {**gateway, "spec": {**gateway["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_everything_is_in_its_namespace(cluster: Cluster) -> None:
    for manifest in cluster.manifests:
        expected = {"Namespace": None, "KafkaTopic": "kafka"}.get(manifest["kind"], "tandem")
        assert manifest["metadata"].get("namespace") == expected, manifest["metadata"]["name"]


def test_every_selector_selects(cluster: Cluster) -> None:
    labels = [labels_of(each) for each in cluster.deployments.values()]
    for deployment in cluster.deployments.values():
        assert selects(deployment["spec"]["selector"], labels_of(deployment))
        for spread in pod_of(deployment).get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"], labels_of(deployment))
    for service in cluster.of_kind("Service"):
        assert sum(selects({"matchLabels": service["spec"]["selector"]}, each) for each in labels) == 1
    for budget in cluster.of_kind("PodDisruptionBudget"):
        assert sum(selects(budget["spec"]["selector"], each) for each in labels) == 1
    for scaler in cluster.of_kind("HorizontalPodAutoscaler") + cluster.of_kind("ScaledObject"):
        target = cluster.deployments[scaler["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in target["spec"], "two would set its number of replicas"


def test_every_reference_leads_to_something(cluster: Cluster) -> None:
    for name, deployment in cluster.deployments.items():
        assert cluster.variables(name)
        volumes = {each["name"]: each for each in pod_of(deployment).get("volumes", [])}
        mounted = {each["name"] for each in container_of(deployment).get("volumeMounts", [])}
        assert mounted == volumes.keys()
        for volume in volumes.values():
            if "configMap" in volume:
                assert cluster.get("ConfigMap", volume["configMap"]["name"])
            if "secret" in volume:
                assert volume["secret"] == {"secretName": "kafka-certificates", "optional": True}
    for service in cluster.of_kind("Service"):
        ports = container_of(cluster.deployments[service["metadata"]["name"]])["ports"]
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= {each["name"] for each in ports}
        assert {each["port"] for each in service["spec"]["ports"]} == {each["containerPort"] for each in ports}
    (ingress,) = cluster.of_kind("Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    backend = path["backend"]["service"]
    ports = cluster.get("Service", backend["name"])["spec"]["ports"]
    assert backend["port"]["name"] in {each["name"] for each in ports}
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]


def test_every_setting_without_a_default_is_provided(example: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings in SETTINGS.items():
        given = example.variables(name)
        with monkeypatch.context() as environment:
            for variable, value in given.items():
                environment.setenv(variable, value)
            if name != "registrar":  # whose secrets are the connectors'
                with pytest.raises(ValidationError, match="set your own secret"):
                    settings()
            environment.setenv("ENVIRONMENT", "local")
            read = settings()
            assert read.port == container_of(example.deployments[name])["ports"][0]["containerPort"]
            assert read.trusted_proxies
    host = example.of_kind("Ingress")[0]["spec"]["rules"][0]["host"]
    assert example.variables("auth")["AUTH_ISSUER"] == f"https://{host}/api/auth"
    assert example.variables("auth")["AUTH_PUBLIC_URL"] == f"https://{host}"
    declared = load_connectors(ROOT / "infra/connect/connectors", example.variables("registrar"))
    assert {each.name for each in declared} == {"mysql-users", "mongodb-tweets"}


def test_services_get_what_they_get_from_compose(example: Cluster, compose: Manifest) -> None:
    for name in example.deployments:
        of_compose = set(compose["services"][name]["environment"])
        assert of_compose <= set(example.variables(name)), name


def test_a_secret_has_what_its_service_reads_and_no_more(example: Cluster) -> None:
    of_connectors = {
        name
        for file in (ROOT / "infra/connect/connectors").glob("*.json")
        for name in re.findall(r"\$\{(CDC_\w+)\}", file.read_text())
    }
    for name, settings in SETTINGS.items():
        (reference,) = [
            each["secretRef"] for each in container_of(example.deployments[name])["envFrom"] if "secretRef" in each
        ]
        read = {field.upper() for field in settings.model_fields} | (of_connectors if name == "registrar" else set())
        assert example.get("Secret", reference["name"])["data"].keys() <= read


def test_gateway_fills_its_template_and_asks_nobody_for_names(example: Cluster) -> None:
    template = (ROOT / "infra/gateway/templates/default.conf.template").read_text()
    wanted = set(re.findall(r"\$\{(\w+)\}", template))
    given = example.variables("gateway")
    assert wanted <= given.keys()
    assert all(re.match(given["NGINX_ENVSUBST_FILTER"], name) for name in wanted)
    for upstream in ("auth", "tweet", "sync"):
        port = example.get("Service", upstream)["spec"]["ports"][0]["port"]
        assert given[f"{upstream.upper()}_UPSTREAM"] == f"{upstream}:{port}"
    rendered = string.Template(template).safe_substitute(given)
    assert "listen 0.0.0.0:8080;" in rendered


def test_images_and_ports_are_those_of_compose_and_dockerfiles(example: Cluster, compose: Manifest) -> None:
    builds = {each["image"]: each["build"] for each in compose["services"].values() if "build" in each}
    for name, deployment in example.deployments.items():
        image = container_of(deployment)["image"].removeprefix("registry.example/").partition(":")[0]
        port = container_of(deployment)["ports"][0]["containerPort"]
        user = pod_of(deployment)["securityContext"]["runAsUser"]
        service = compose["services"][name]
        if name == "gateway":
            dockerfile = (ROOT / "infra/gateway/Dockerfile").read_text()
            assert f"FROM {service['image']}\n" in dockerfile
            assert int(service["environment"]["GATEWAY_PORT"]) == port
            assert f"USER {user}\n" in dockerfile
            assert f"EXPOSE {port}\n" in dockerfile
        else:
            assert service["image"] == image
            assert builds[image]["args"]["PORT"] == str(port)
            dockerfile = (ROOT / builds[image]["dockerfile"]).read_text()
            assert f"--uid {user} " in dockerfile
            assert "EXPOSE $PORT\n" in dockerfile


def test_dockerfile_of_services_is_given_a_program_of_the_package_in_its_folder(compose: Manifest) -> None:
    builds = [each["build"] for each in compose["services"].values() if "build" in each]
    assert len(builds) == len(SETTINGS)
    for build in builds:
        arguments = build["args"]
        folder = ROOT / arguments.get("FOLDER", f"services/{arguments['SERVICE']}")
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert arguments["SERVICE"] in project["scripts"]


def test_routes_are_those_of_the_one_file(example: Cluster) -> None:
    sync = example.deployments["sync"]
    (volume,) = [each for each in pod_of(sync)["volumes"] if "configMap" in each]
    routes = example.get("ConfigMap", volume["configMap"]["name"])["data"]
    assert routes == {"routes.yaml": (ROOT / "services/sync-service/routes.yaml").read_text()}
    (mount,) = [each for each in container_of(sync)["volumeMounts"] if each["name"] == volume["name"]]
    assert example.variables("sync")["SYNC_ROUTES_FILE"] == f"{mount['mountPath']}/routes.yaml"


def test_no_pod_may_do_more_than_it_must(cluster: Cluster) -> None:
    for deployment in cluster.deployments.values():
        pod, container = pod_of(deployment), container_of(deployment)
        assert pod["automountServiceAccountToken"] is False
        # GATEWAY_PORT and the like would otherwise be set for the Services of these names.
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all({"configMap", "emptyDir", "secret"} & each.keys() for each in pod.get("volumes", []))
        assert container["resources"].keys() == {"requests", "limits"}


def test_every_pod_is_probed_and_ends_in_good_order(cluster: Cluster) -> None:
    for name, deployment in cluster.deployments.items():
        container = container_of(deployment)
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        ready = "/healthz" if name == "gateway" else "/readyz"
        assert paths == {"startup": "/healthz", "readiness": ready, "liveness": "/healthz"}
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod_of(deployment)["terminationGracePeriodSeconds"] > before + SHUTDOWN_SECONDS


def test_no_secret_of_ours_is_a_real_one(cluster: Cluster) -> None:
    files = (ROOT / "infra/kubernetes/overlays").glob("*/secrets/*.env")
    for file in files:
        assert file.name.endswith(".example.env")
        assert "local-only-" in file.read_text()
