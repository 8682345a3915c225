"""Log lines."""

import contextlib
import json
from typing import Any

import pytest
import structlog

from support.logs import configured_logging


@pytest.mark.parametrize("odd", [{(1, 2): 3}, "\ud800", b"\xff", float("nan"), object(), {"itself": ...}])
def test_odd_values_are_logged(odd: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if isinstance(odd, dict) and "itself" in odd:
        odd["itself"] = odd
    with configured_logging():
        structlog.get_logger("x").warning("happened", odd=odd, name="Ada")
    line = json.loads(capsys.readouterr().out)
    assert line["event"].strip("'") == "happened"
    assert line["name"].strip("'") == "Ada"
    assert "odd" in line


def test_line_that_can_not_be_written_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full, configured_logging():  # noqa: PTH123 - a device
        monkeypatch.setattr("sys.stdout", full)
        structlog.get_logger("x").warning("lost")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_secrets_do_not_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with configured_logging():
        structlog.get_logger("x").info("happened", password="hunter2", refresh_token="abc", name="Ada")
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["service"], line["name"]) == ("happened", "things", "Ada")
    assert line["password"] == line["refresh_token"] == "[redacted]"
