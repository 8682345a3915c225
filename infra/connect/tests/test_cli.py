"""The command `registrar`."""

from pathlib import Path

import pytest

from registrar.cli import seed_routes
from registrar.settings import Settings
from sync_service.routes.loader import default_routes_file, load_routes_file


def settings_of(file: Path) -> Settings:
    return Settings(kafka_bootstrap_servers="127.0.0.1:1", connect_url="http://127.0.0.1:1", sync_routes_file=file)


def test_built_in_routes_are_copied_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "volume" / "routes.yaml"
    seed_routes(settings_of(file))
    assert capsys.readouterr().out == f"{file}: the built-in routes\n"
    assert load_routes_file(file) == load_routes_file(default_routes_file())
    seed_routes(settings_of(file))
    assert capsys.readouterr() == ("", "")


def test_file_without_routes_is_copied_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "volume" / "routes.yaml"
    seed_routes(settings_of(file), "none")
    assert capsys.readouterr().out == f"{file}: no routes\n"
    assert (load_routes_file(file).routes, load_routes_file(file).sources) == ([], [])


def test_folder_that_can_not_be_written_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "volume").write_text("no folder")
    file = tmp_path / "volume" / "routes.yaml"
    seed_routes(settings_of(file))
    assert capsys.readouterr().err.startswith(f"warning: {file} is not updated: ")
