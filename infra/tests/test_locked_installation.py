"""What is installed into the images is checked by the hashes in the lock file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.manifests import ROOT

pytestmark = pytest.mark.integration

# A small package without dependencies.
PACKAGE = "idna"
PROJECT = f'[project]\nname = "probe"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["{PACKAGE}"]\n'


def entry() -> str:
    (found,) = re.findall(
        rf"^{PACKAGE}==.*?\n(?=\S)", (ROOT / "requirements.lock").read_text(), re.MULTILINE | re.DOTALL
    )
    text: str = found
    return text


def install(folder: Path, lock: str) -> subprocess.CompletedProcess[str]:
    (folder / "requirements.lock").write_text(lock)
    (folder / "pyproject.toml").write_text(PROJECT)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["uv", "venv", "-q", folder / "venv"], env=environment, check=True)
    script = ROOT / "services/install-locked.sh"
    return subprocess.run(
        ["sh", script, "requirements.lock", "pyproject.toml", "venv"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def installed(folder: Path) -> list[str]:
    return [each.name for each in folder.glob(f"venv/lib/python*/site-packages/{PACKAGE}")]


def test_locked_package_is_installed(tmp_path: Path) -> None:
    done = install(tmp_path, entry())
    assert done.returncode == 0, done.stderr
    assert installed(tmp_path) == [PACKAGE]


def test_tampered_lock_is_refused(tmp_path: Path) -> None:
    done = install(tmp_path, re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", entry()))
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert installed(tmp_path) == []


def test_package_without_a_hash_in_the_lock_is_refused(tmp_path: Path) -> None:
    done = install(tmp_path, "")
    assert done.returncode != 0
    assert installed(tmp_path) == []


def test_images_are_installed_by_this_script() -> None:
    dockerfile = (ROOT / "services/Dockerfile").read_text()
    assert 'sh services/install-locked.sh requirements.lock "$FOLDER/pyproject.toml" /venv' in dockerfile
    assert "--generate-hashes" not in dockerfile
