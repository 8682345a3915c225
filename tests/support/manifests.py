"""Renders the overlays of infra/kubernetes with kustomize."""

import base64
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

Manifest = dict[str, Any]


def compose_file() -> Manifest:
    """docker-compose.yml."""
    read: Manifest = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


def build_of(compose: Manifest, service: str) -> Manifest:
    """How the image of a service is built: one of the services that have it says so, in each profile."""
    image = compose["services"][service]["image"]
    found: list[Manifest] = []
    for profile in compose["services"][service].get("profiles", PROFILES):
        services = services_of(profile, compose).values()
        (build,) = [each["build"] for each in services if each["image"] == image and "build" in each]
        found.append(build)
    assert all(each == found[0] for each in found)
    return found[0]


# What COMPOSE_PROFILES or --profile can be.
PROFILES = ("full", "observability", "sync-only")


def services_of(profile: str, compose: Manifest) -> Manifest:
    """The services that `docker compose --profile PROFILE up` starts."""
    return {
        name: service
        for name, service in compose["services"].items()
        if "profiles" not in service or profile in service["profiles"]
    }


@dataclass(frozen=True)
class Cluster:
    """The manifests of a rendered overlay."""

    overlay: str
    manifests: Sequence[Manifest]

    def of_kind(self, kind: str) -> list[Manifest]:
        return [each for each in self.manifests if each["kind"] == kind]

    def get(self, kind: str, name: str) -> Manifest:
        (found,) = [each for each in self.of_kind(kind) if each["metadata"]["name"] == name]
        return found

    @property
    def deployments(self) -> dict[str, Manifest]:
        return {each["metadata"]["name"]: each for each in self.of_kind("Deployment")}

    def variables(self, deployment: str) -> dict[str, str]:
        """The environment variables of its container."""
        container = container_of(self.deployments[deployment])
        found: dict[str, str] = {}
        for source in container["envFrom"]:
            if reference := source.get("configMapRef"):
                found |= self.get("ConfigMap", reference["name"])["data"]
            else:
                secret = self.get("Secret", source["secretRef"]["name"])["data"]
                found |= {key: base64.b64decode(value).decode() for key, value in secret.items()}
        for variable in container.get("env", []):
            of_field = variable.get("valueFrom", {}).get("resourceFieldRef")
            found[variable["name"]] = container["resources"]["limits"]["cpu"] if of_field else variable["value"]
        return found


def pod_of(deployment: Manifest) -> Manifest:
    pod: Manifest = deployment["spec"]["template"]["spec"]
    return pod


def container_of(deployment: Manifest) -> Manifest:
    (container,) = pod_of(deployment)["containers"]
    found: Manifest = container
    return found


def labels_of(deployment: Manifest) -> dict[str, str]:
    """The labels of its pods."""
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Does a Kubernetes label selector match these labels? An empty selector matches everything."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions), "only the operator In is implemented"
    return wanted and all(labels.get(each["key"]) in each["values"] for each in expressions)


def render(overlay: str) -> Cluster:
    """Render an overlay with the kubectl of the virtual environment. That needs no cluster."""
    kubectl = Path(sys.executable).with_name("kubectl")
    folder = ROOT / "infra" / "kubernetes" / "overlays" / overlay
    rendered = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return Cluster(overlay, list(yaml.safe_load_all(rendered.stdout)))
