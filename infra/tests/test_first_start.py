"""The scripts that start MySQL and MongoDB in their containers, with a stand-in of the images' entrypoint."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.manifests import ROOT

pytestmark = pytest.mark.integration

# As the images' entrypoints: initializes a data folder that has no database, and then runs the last step. It ends
# before that if the first start is `interrupted`.
ENTRYPOINT = """#!/bin/bash
set -e
echo "started $*"
if [[ ! -e $DATA/database ]]; then
    touch "$DATA/database"
    [[ -z $INTERRUPTED ]] || exit 137
    touch "$DATA/accounts"
    sed "s#/data/db\\|/var/lib/mysql#$DATA#" "$INITIALIZED" | bash
fi
"""


@dataclass
class Container:
    """A store's start script with a data folder of its own."""

    store: str
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(
        self, *, interrupted: bool = False, password: str = "phrase", key: str = "a2V5a2V5", fails: str = ""
    ) -> str:
        own = ROOT / "infra" / self.store
        for script in (ROOT / "infra/first-start.sh", own / "start.sh"):
            shutil.copy(script, self.folder)
        done = subprocess.run(
            ["bash", self.folder / "start.sh"],
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "DATA": str(self.data),
                "TANDEM_DATA": str(self.data),
                "TANDEM_KEY": str(self.folder / "replica-set.key"),
                "MONGO_REPLICA_SET_KEY": key,
                "MYSQL_ROOT_PASSWORD": password,
                "MONGO_INITDB_ROOT_PASSWORD": password,
                "INITIALIZED": str(own / "initialized.sh"),
                "INTERRUPTED": "yes" if interrupted else "",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (137 if interrupted else 1 if fails else 0), done.stderr
        assert fails in done.stderr
        return done.stdout

    @property
    def files(self) -> set[str]:
        return {file.name for file in self.data.iterdir()}


@pytest.fixture(params=["mysql", "mongo"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    (tmp_path / "data").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in {"docker-entrypoint.sh": ENTRYPOINT, "chown": "#!/bin/sh\n"}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    return Container(request.param, tmp_path)


def test_first_start_creates_the_accounts_once(container: Container) -> None:
    container.start()
    assert container.files == {"database", "accounts"}
    (container.data / "row").touch()
    container.start()
    assert container.files == {"database", "accounts", "row"}


def test_interrupted_first_start_is_repeated_and_nothing_is_deleted(container: Container) -> None:
    container.start(interrupted=True)
    assert "accounts" not in container.files
    (container.data / "backup").touch()
    assert "it is repeated" in container.start(interrupted=True)
    assert "it is repeated" in container.start()
    moved = {name for name in container.files if name.startswith(".interrupted.")}
    assert container.files - moved == {"database", "accounts"}
    assert [file.name for file in container.data.glob(".interrupted.*/backup")] == ["backup"]
    assert "repeated" not in container.start()


def test_password_of_root_that_the_image_can_not_set_is_refused_before_the_first_start(container: Container) -> None:
    container.start(password="it's", fails="The password of root may contain letters")
    assert container.files == set()
    container.start()
    container.start(password="it's")


def test_data_of_the_last_release_is_kept(container: Container) -> None:
    for name in ("database", "accounts", "row"):
        (container.data / name).touch()
    assert "repeated" not in container.start()
    assert container.files == {"database", "accounts", "row"}


def test_key_of_the_replica_set_is_private(tmp_path: Path, container: Container) -> None:
    if container.store == "mongo":
        container.start()
        key = tmp_path / "replica-set.key"
        assert (key.read_text(), key.stat().st_mode & 0o077) == ("a2V5a2V5", 0)


@pytest.mark.parametrize("key", ["ab!$", "short", "a" * 1025, "two\nlines"])
def test_invalid_key_of_the_replica_set_is_refused_before_the_first_start(container: Container, key: str) -> None:
    if container.store == "mongo":
        container.start(key=key, fails="MONGO_REPLICA_SET_KEY must have 6 to 1024 characters of base64")
        assert container.files == set()
