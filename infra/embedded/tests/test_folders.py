"""State folders whose names have special or non-ASCII characters."""

import json
import subprocess
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest

from embedded_stack import StackError
from support.stacks import stack_in

UNUSUAL = " jürgen 'müller' \\u00e4 €🔑 %41 #!=:"


@pytest.mark.integration
@pytest.mark.long
def test_kafka_and_connect_run_in_a_folder_with_an_unusual_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this locale Java can't open files whose names are not ASCII.
    monkeypatch.setenv("LC_ALL", "C")
    state = tmp_path / UNUSUAL
    with stack_in(state) as own:
        own.start("connect")
        logs = state / "data" / "kafka" / "logs"
        assert (logs / "meta.properties").exists()
        assert (logs / "sync.dead-letters-0").is_dir()
        with urlopen(f"{own.addresses['CONNECT_URL']}/connector-plugins", timeout=10) as answer:  # noqa: S310 - our own
            plugins = {each["class"].rpartition(".")[2] for each in json.load(answer)}
        assert {"MySqlConnector", "MongoDbConnector"} <= plugins
    # No program has created a folder beside it under a misread name.
    assert list(tmp_path.iterdir()) == [state]


@pytest.mark.integration
def test_gateway_reads_files_in_a_folder_with_an_unusual_name(tmp_path: Path) -> None:
    with stack_in(tmp_path / f'{UNUSUAL} "quoted"') as own:
        gateway = own.components["gateway"]
        gateway.fetch()
        gateway.prepare()
        command = gateway.command()
        done = subprocess.run(
            [*command.argv, "-t"], env=command.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["kafka", "connect"])
def test_comma_in_the_state_folder_is_refused_before_anything_starts(tmp_path: Path, name: str) -> None:
    with stack_in(tmp_path / "jürgen müller, x") as own:
        with pytest.raises(StackError, match=r"jürgen müller, x has a comma, .*: set TANDEM_STATE_DIR"):
            own.start("mail", name)
        assert not own.is_running("mail")


@pytest.mark.parametrize("name", ["kafka", "connect", "gateway"])
def test_colon_in_the_cache_folder_is_refused_before_anything_starts(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine without nginx.
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with stack_in(tmp_path / "state", cache_dir=tmp_path / "a:b") as own:
        refused = own.components["gateway"].fetch if name == "gateway" else partial(own.start, name)
        with pytest.raises(StackError, match="has a colon"):
            refused()
