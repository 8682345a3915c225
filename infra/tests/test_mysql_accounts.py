"""The script of the one-shot service `mysql-init`, with a program in place of MySQL's client that shows its input."""

import os
import subprocess
from pathlib import Path

import pytest

from support.manifests import ROOT

pytestmark = pytest.mark.integration

CLIENT = """#!/bin/bash
for argument; do
    case $argument in
    --defaults-extra-file=*) cat "${argument#*=}" >"$FOLDER/options" ;;
    esac
done
printf '%s\\n' "$@" >>"$FOLDER/arguments"
[[ -z $REFUSED ]] || { echo "ERROR 1045 (28000): Access denied for user 'root'" >&2; exit 1; }
[[ $* == *--execute* ]] || cat >"$FOLDER/statements"
"""
PASSWORDS = {
    "MYSQL_ROOT_PASSWORD": 'back\\slash and space"',
    "MYSQL_AUTH_PASSWORD": "a-1",
    "MYSQL_SYNC_PASSWORD": "b.2",
    "MYSQL_DEBEZIUM_PASSWORD": "c_3",
}


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "mysql").write_text(CLIENT)
    (programs / "mysql").chmod(0o755)
    return subprocess.run(
        ["bash", ROOT / "infra/mysql/accounts.sh"],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FOLDER": str(folder),
            "REFUSED": "",
            **PASSWORDS,
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_accounts_get_the_passwords_of_the_environment(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    statements = (tmp_path / "statements").read_text()
    for user, name in {"auth_service": "AUTH", "sync_service": "SYNC", "debezium": "DEBEZIUM"}.items():
        # A changed password is applied, too.
        assert f"ALTER USER '{user}'@'%' IDENTIFIED BY '{PASSWORDS[f'MYSQL_{name}_PASSWORD']}';" in statements
    assert "${" not in statements


def test_no_password_is_an_argument(tmp_path: Path) -> None:
    run(tmp_path)
    arguments = (tmp_path / "arguments").read_text()
    assert "--user=root" in arguments
    assert not [value for value in PASSWORDS.values() if value in arguments]
    assert (tmp_path / "options").read_text() == '[client]\npassword="back\\\\slash and space\\""\n'


def test_password_that_is_no_part_of_a_url_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, MYSQL_SYNC_PASSWORD="it's")
    assert done.returncode == 1
    assert done.stderr.startswith("MYSQL_SYNC_PASSWORD may contain ")
    assert not (tmp_path / "statements").exists()


def test_refused_password_of_root_is_explained(tmp_path: Path) -> None:
    done = run(tmp_path, REFUSED="yes")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert "Access denied" in first
    assert "MYSQL_ROOT_PASSWORD" in second
