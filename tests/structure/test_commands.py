"""Commands that are forked from a process that has imported the service are programs of their own."""

import os
import secrets
import signal
import tempfile
from pathlib import Path

import pytest

from support.commands import run_command, start_command
from support.fork_server import import_if_present

pytestmark = pytest.mark.integration

CREATE = ("create-admin", "--username", "ada", "--email", "ada@example.com")


def test_missing_import_of_a_module_is_not_the_absence_of_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"module_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text("import a_module_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_if_present(f"absent_{name}")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_installed"):
        import_if_present(name)


async def test_command_has_its_own_arguments_environment_input_and_output() -> None:
    address = {"MYSQL_URL": "mysql://ada@127.0.0.1:1/auth"}
    code, output, errors = await run_command("auth-service", *CREATE, typed="short\n", **address)
    assert (code, output, errors) == (1, "", "error: password: String should have at least 8 characters\n")
    # Neither the address nor the input of another command.
    code, output, errors = await run_command("auth-service", *CREATE)
    assert (code, output) == (1, "")
    assert "MYSQL_URL" in errors
    assert (await run_command("auth-service", "--help"))[0] == 0


async def test_killed_command_has_the_exit_code_of_its_signal_and_ends_no_other() -> None:
    variables = {"PATH": os.environ["PATH"], "MONGODB_URL": "mongodb://127.0.0.1:1/tweets", "PORT": "0"}
    with tempfile.TemporaryFile() as output:
        killed, other = [
            await start_command("tweet-service", "run", variables=variables, output=output, errors=output)
            for _ in range(2)
        ]
        killed.send_signal(signal.SIGKILL)
        assert await killed.wait() == killed.returncode == -signal.SIGKILL
        os.kill(other.pid, 0)
        other.send_signal(signal.SIGKILL)
        assert await other.wait() == -signal.SIGKILL
