"""`make env` writes .env."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.manifests import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "infra").mkdir()
    shutil.copy(ROOT / ".env.example", tmp_path)
    shutil.copy(ROOT / "infra/env.sh", tmp_path / "infra")
    return tmp_path


def make_env(repository: Path) -> str:
    done = subprocess.run(
        ["sh", repository / "infra/env.sh"], capture_output=True, text=True, check=True, cwd=repository / "infra"
    )
    return done.stdout


def read(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_secret_is_random_and_everything_else_is_the_example(repository: Path) -> None:
    make_env(repository)
    example, written = read(repository / ".env.example"), read(repository / ".env")
    assert written.keys() == example.keys()
    changed = {name: value for name, value in written.items() if value != example[name]}
    assert changed.pop("ENVIRONMENT") == "production"
    assert changed.keys() == {
        name for name in example if name.endswith(("_PASSWORD", "_SECRET", "_TOKEN")) or name == "MONGO_REPLICA_SET_KEY"
    }
    assert len(set(changed.values())) == len(changed)
    assert all(len(value) == 48 and value.isascii() and value.isalnum() for value in changed.values())
    comments = [line for line in (repository / ".env.example").read_text().splitlines() if line.startswith("#")]
    assert [line for line in (repository / ".env").read_text().splitlines() if line.startswith("#")] == comments


def test_only_the_owner_can_read_it(repository: Path) -> None:
    make_env(repository)
    assert (repository / ".env").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in repository.iterdir()} == {".env", ".env.example", "infra"}


def test_existing_file_stays_as_it_is(repository: Path) -> None:
    (repository / ".env").write_text("PUBLIC_URL=https://tandem.example\n")
    assert "stays as it is" in make_env(repository)
    assert read(repository / ".env") == {"PUBLIC_URL": "https://tandem.example"}
