"""The manifests are valid and consistent, and agree with the rest of the repository. This needs no cluster."""

import re
import string
import tomllib

import kubernetes_validate
import pytest
from pydantic import ValidationError

from auth_service.settings import Settings as AuthSettings
from registrar.connectors import connector
from registrar.settings import Settings as RegistrarSettings
from service_kit.server import SHUTDOWN_SECONDS
from service_kit.settings import ServiceSettings
from support.connector import built_in_settings
from support.dockerfiles import stage
from support.manifests import ROOT, Cluster, Manifest, build_of, container_of, labels_of, pod_of, selects
from sync_service.routes.loader import default_routes_file
from sync_service.settings import Settings as SyncSettings
from tweet_service.settings import Settings as TweetSettings

KUBERNETES = "1.37"
# Resources of operators. infra/kubernetes/README.md says how they were validated.
CUSTOM_KINDS = {"ScaledObject", "KafkaTopic", "KafkaConnect", "KafkaConnector"}
SETTINGS: dict[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "tweet": TweetSettings,
    "sync": SyncSettings,
    "registrar": RegistrarSettings,
}


def test_every_built_in_resource_is_valid_without_unknown_fields(cluster: Cluster) -> None:
    for manifest in cluster.manifests:
        if manifest["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_validation_finds_an_unknown_field(example: Cluster) -> None:
    gateway = example.deployments["gateway"]
    wrong = {**gateway, "spec": {**gateway["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_every_resource_is_in_its_namespace(cluster: Cluster) -> None:
    for manifest in cluster.manifests:
        expected = {"Namespace": None, "KafkaTopic": "kafka"}.get(manifest["kind"], "tandem")
        assert manifest["metadata"].get("namespace") == expected, manifest["metadata"]["name"]


def test_every_selector_matches_pods(cluster: Cluster) -> None:
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
        assert "replicas" not in target["spec"], "the scaler sets the number of replicas"


def test_every_reference_has_a_target(cluster: Cluster) -> None:
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
            if name != "registrar":  # its secrets are those of the connectors
                with pytest.raises(ValidationError, match="set your own secret"):
                    settings()
            environment.setenv("ENVIRONMENT", "local")
            read = settings()
            assert read.port == container_of(example.deployments[name])["ports"][0]["containerPort"]
            assert read.trusted_proxies
    host = example.of_kind("Ingress")[0]["spec"]["rules"][0]["host"]
    assert example.variables("auth")["AUTH_ISSUER"] == f"https://{host}/api/auth"
    assert example.variables("auth")["AUTH_PUBLIC_URL"] == f"https://{host}"
    for name, config in built_in_settings().items():
        assert connector(name, config, example.variables("registrar"))


def test_services_get_the_variables_that_compose_sets(example: Cluster, compose: Manifest) -> None:
    for name in example.deployments:
        of_compose = set(compose["services"][name]["environment"])
        assert of_compose <= set(example.variables(name)), name


def test_secret_has_only_variables_that_its_service_reads(example: Cluster) -> None:
    of_connectors = {
        name
        for config in built_in_settings().values()
        for name in re.findall(r"\$\{(CDC_\w+)\}", " ".join(config.values()))
    }
    for name, settings in SETTINGS.items():
        secrets = [
            example.get("Secret", each["secretRef"]["name"])["data"].keys()
            for each in container_of(example.deployments[name])["envFrom"]
            if "secretRef" in each
        ]
        assert secrets[0] <= {field.upper() for field in settings.model_fields}
        assert secrets[1:] == ([of_connectors] if name == "registrar" else [])


def test_gateway_has_every_variable_of_its_template(example: Cluster) -> None:
    template = "".join(file.read_text() for file in (ROOT / "infra/gateway/templates").glob("*.template"))
    wanted = set(re.findall(r"\$\{(\w+)\}", template))
    given = stage("gateway").environment | example.variables("gateway")
    assert wanted <= given.keys()
    assert all(re.match(given["NGINX_ENVSUBST_FILTER"], name) for name in wanted)
    for upstream in ("auth", "tweet", "sync"):
        port = example.get("Service", upstream)["spec"]["ports"][0]["port"]
        assert given[f"{upstream.upper()}_UPSTREAM"] == f"{upstream}:{port}"
    rendered = string.Template(template).safe_substitute(given)
    assert "listen 0.0.0.0:8080;" in rendered


def test_images_and_ports_agree_with_compose_and_the_dockerfiles(example: Cluster, compose: Manifest) -> None:
    for name, deployment in example.deployments.items():
        image = container_of(deployment)["image"].partition(":")[0]
        port = container_of(deployment)["ports"][0]["containerPort"]
        user = pod_of(deployment)["securityContext"]["runAsUser"]
        service = compose["services"][name]
        assert image == service["image"].replace("localhost/", "registry.example/")
        build = build_of(compose, name)
        if name == "gateway":
            built = stage(build["target"])
            assert int(service["environment"]["GATEWAY_PORT"]) == port
            assert built.arguments("USER") == [str(user)]
            assert built.arguments("EXPOSE") == [str(port)]
        else:
            assert build["args"]["PORT"] == str(port)
            dockerfile = (ROOT / build["dockerfile"]).read_text()
            assert f"--uid {user} " in dockerfile
            assert "EXPOSE $PORT\n" in dockerfile


def test_build_argument_service_is_a_program_of_the_package_in_its_folder(compose: Manifest) -> None:
    for name in SETTINGS:
        arguments = build_of(compose, name)["args"]
        folder = ROOT / arguments.get("FOLDER", f"services/{arguments['SERVICE']}")
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert arguments["SERVICE"] in project["scripts"]


def test_images_without_an_overlay_are_in_no_public_registry() -> None:
    bases = [*(ROOT / "infra/kubernetes/base").glob("*.yaml"), *(ROOT / "infra/kubernetes/components").rglob("*.yaml")]
    images = [image for file in bases for image in re.findall(r"^\s+image: (.+)$", file.read_text(), re.MULTILINE)]
    assert len(images) >= 6
    assert [image for image in images if not image.startswith("localhost/tandem/")] == []


def test_routes_are_those_of_sync_service(example: Cluster) -> None:
    for name in ("sync", "registrar"):
        deployment = example.deployments[name]
        (volume,) = [each for each in pod_of(deployment)["volumes"] if "configMap" in each]
        routes = example.get("ConfigMap", volume["configMap"]["name"])["data"]
        assert routes == {"routes.yaml": default_routes_file().read_text()}
        (mount,) = [each for each in container_of(deployment)["volumeMounts"] if each["name"] == volume["name"]]
        assert example.variables(name)["SYNC_ROUTES_FILE"] == f"{mount['mountPath']}/routes.yaml"


def test_pods_have_the_least_privileges(cluster: Cluster) -> None:
    for deployment in cluster.deployments.values():
        pod, container = pod_of(deployment), container_of(deployment)
        assert pod["automountServiceAccountToken"] is False
        # Otherwise Kubernetes sets GATEWAY_PORT and so on for the Services of these names.
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


def test_every_pod_has_probes_and_time_for_a_graceful_end(cluster: Cluster) -> None:
    for name, deployment in cluster.deployments.items():
        container = container_of(deployment)
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        ready = "/healthz" if name == "gateway" else "/readyz"
        assert paths == {"startup": "/healthz", "readiness": ready, "liveness": "/healthz"}
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod_of(deployment)["terminationGracePeriodSeconds"] > before + SHUTDOWN_SECONDS


def test_secrets_of_the_examples_are_marked_as_examples() -> None:
    files = [*(ROOT / "infra/kubernetes/overlays").glob("*/secrets/*")]
    assert files
    for file in files:
        assert file.name.endswith(".example.env")
        for name, value in re.findall(r"^(\w+)=(.+)$", file.read_text(), re.MULTILINE):
            if name.endswith(("PASSWORD", "SECRET", "URL")):
                assert "local-only-" in value, name
