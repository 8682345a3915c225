"""Writes a software bill of materials in CycloneDX's format (https://cyclonedx.org/docs/1.6/json/).

It lists what the services and the embedded stack consist of: the Python packages of requirements.lock with the hashes
of their files, the jars and programs of the embedded stack, and the base images of the containers. What only develops
and tests Tandem is left out. The same locks give the same file.
"""

import json
import re
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from embedded_stack.fetch.jars import Jar, locked_jars

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "dist" / "tandem.cdx.json"
PROJECTS = (
    "services/auth-service",
    "services/tweet-service",
    "services/sync-service",
    "services/service-kit",
    "infra/connect",
    "infra/embedded",
)
_PACKAGE = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?P<rest>.*(?:\n[ #].*)*)", re.MULTILINE)
_FROM = re.compile(r"^FROM (\S+)", re.MULTILINE)

Component = dict[str, Any]


@dataclass(frozen=True)
class Package:
    """A package of a lock file; `via` are the packages and projects that need it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    via: frozenset[str] = field(default_factory=frozenset)

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{quote(self.version)}"


def locked_packages(lock: str) -> list[Package]:
    """The packages of a lock file that uv has compiled."""
    return [
        Package(
            found["name"],
            found["version"],
            tuple(sorted(re.findall("sha256:([0-9a-f]{64})", found["rest"]))),
            frozenset(_via(found["rest"])),
        )
        for found in _PACKAGE.finditer(lock)
    ]


def shipped(packages: Iterable[Package], projects: Iterable[str]) -> list[Package]:
    """The packages that these projects need, directly or not."""
    all_packages = list(packages)
    needed = set(projects)
    while more := {each.name for each in all_packages if each.via & needed} - needed:
        needed |= more
    return [each for each in all_packages if each.name in needed]


def bill_of_materials() -> dict[str, Any]:
    """The content of the file."""
    declared = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"] for folder in PROJECTS]
    projects = {each["name"]: each["version"] for each in declared}
    packages = shipped(locked_packages((ROOT / "requirements.lock").read_text()), projects)
    programs = locked_packages((ROOT / "infra/embedded/components.lock").read_text())
    jars = [*locked_jars("kafka"), *locked_jars("connectors")]
    root = _component("application", "tandem", projects["auth-service"], "pkg:generic/tandem")
    images = [_of_image(each) for each in sorted(base_images())]
    components = [
        *(_component("application", name, version, f"pkg:generic/{name}") for name, version in projects.items()),
        *(_of_package(each) for each in (*packages, *programs)),
        *(_of_jar(each) for each in jars),
        *images,
    ]
    dependencies = _dependencies(packages, projects)
    dependencies[root["bom-ref"]] = sorted(
        {f"pkg:generic/{name}" for name in projects} | {each["bom-ref"] for each in images}
    )
    dependencies["pkg:generic/embedded-stack"] += [each.purl for each in programs] + [_jar_purl(each) for each in jars]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(dependencies.items())],
    }
    return bill | {"serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill)).urn}


def base_images() -> set[str]:
    """The images of docker-compose.yml and of the Dockerfiles that are not built here."""
    compose = (ROOT / "docker-compose.yml").read_text()
    of_compose = re.findall(r"^ +image: ((?:docker|quay)\.io/\S+)", compose, re.MULTILINE)
    files = (
        ROOT / "services/Dockerfile",
        ROOT / "infra/Dockerfile",
        ROOT / "infra/kubernetes/components/strimzi/Dockerfile",
    )
    return {*of_compose, *(base for file in files for base in _FROM.findall(file.read_text()))}


def _via(text: str) -> Iterator[str]:
    """The names in the comment `# via`, without the files of projects: `auth-service (…/pyproject.toml)`."""
    for comment in re.findall(r"^ +# +(?:via)? *(.*)$", text, re.MULTILINE):
        if comment and not comment.startswith("("):
            yield comment.partition(" ")[0].partition("[")[0]


def _dependencies(packages: Iterable[Package], projects: Mapping[str, str]) -> dict[str, list[str]]:
    refs = {name: f"pkg:generic/{name}" for name in projects} | {each.name: each.purl for each in packages}
    found: dict[str, list[str]] = {ref: [] for ref in refs.values()}
    for package in packages:
        for name in package.via & refs.keys():
            found[refs[name]].append(package.purl)
    for name in projects:
        if name not in ("service-kit", "embedded-stack"):
            found[refs[name]].append(refs["service-kit"])
    return found


def _component(kind: str, name: str, version: str, purl: str, hashes: Iterable[str] = (), **more: str) -> Component:
    component: Component = {"type": kind, "bom-ref": purl, "name": name, "version": version, **more}
    if not purl.startswith("pkg:generic/"):
        component["purl"] = purl
    if content := [{"alg": "SHA-256", "content": each} for each in hashes]:
        component["hashes"] = content
    return component


def _of_package(package: Package) -> Component:
    return _component("library", package.name, package.version, package.purl, package.hashes)


def _jar_purl(jar: Jar) -> str:
    return f"pkg:maven/{jar.group}/{jar.artifact}@{jar.version}"


def _of_jar(jar: Jar) -> Component:
    return _component("library", jar.artifact, jar.version, _jar_purl(jar), [jar.sha256], group=jar.group)


def _of_image(image: str) -> Component:
    registry, _, path = image.partition("/")
    name, _, version = path.partition(":")
    suffix = "" if registry == "docker.io" else f"?repository_url={registry}"
    return _component("container", name, version, f"pkg:docker/{name}@{version}{suffix}")


if __name__ == "__main__":
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(bill_of_materials(), indent=2) + "\n")
    print(OUTPUT.relative_to(ROOT))
