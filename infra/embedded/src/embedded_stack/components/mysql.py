"""MySQL: a `mysqld` 8.0.30 or newer on PATH, or Debian sid's 9.7."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from embedded_stack.components.base import LOOPBACK, Component, MySQLAccount, without_account
from embedded_stack.components.mysql_accounts import ACCOUNTS, create_accounts, execute
from embedded_stack.configuration import REPOSITORY
from embedded_stack.errors import StackError
from embedded_stack.fetch.debian import MYSQL, debian_prefix, is_debian_like
from embedded_stack.process import Command

SETTINGS = REPOSITORY / "infra" / "mysql" / "tandem.cnf"


_LEAST_VERSION = (8, 0, 30)
# Locks and processes stay visible, and the beginnings of statements: sync-service looks for those that keep changes out
# of the log. Histories and all digests of statements would take 200 MB.
_SMALL_PERFORMANCE_SCHEMA = (
    *(
        f"--performance-schema-events-{kind}-history-long-size=0"
        for kind in ("waits", "stages", "statements", "transactions")
    ),
    "--performance-schema-digests-size=1000",
    "--performance-schema-error-size=0",
    "--performance-schema-max-digest-length=128",
    "--performance-schema-max-sql-text-length=0",
)


def mysqld_on_path() -> str | None:
    """A `mysqld` that is MySQL (not MariaDB) 8.0.30 or newer, which knows `REVOKE IF EXISTS`."""
    program = shutil.which("mysqld")
    if program is None:
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Ver (\d+)\.(\d+)\.(\d+)", version)
    is_new = found is not None and tuple(map(int, found.groups())) >= _LEAST_VERSION
    return program if is_new and "MariaDB" not in version else None


class MySQLServer(Component):
    """A server. `options` are added to its command line."""

    grace = 30
    options: tuple[str, ...] = ()

    def fetch(self) -> None:
        if mysqld_on_path() is None:
            if not is_debian_like():
                raise StackError(
                    "This machine is not Debian-like and has no mysqld 8.0.30 or newer on PATH, which the embedded "
                    "stack needs; use `docker compose up` instead."
                )
            debian_prefix(self.environment.cache, MYSQL)

    def prepare(self) -> None:
        # A killed server leaves this file with its pid. MySQL does not start if another process has that pid now.
        self._socket.with_suffix(".sock.lock").unlink(missing_ok=True)
        if (self._data / "mysql.ibd").exists():
            return
        # An interrupted initialization leaves a folder that MySQL does not accept.
        shutil.rmtree(self._data, ignore_errors=True)
        done = subprocess.run(
            [*self._server(), "--initialize-insecure", f"--datadir={self._data}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise StackError(f"MySQL can't initialize its data folder: {done.stderr.strip().splitlines()[-1]}")

    def command(self) -> Command:
        init_file = self._folder / "root.sql"
        init_file.touch(mode=0o600)
        # Each server of a pair sets its own password, so that no transaction of a replica is its own.
        init_file.write_text(
            "SET sql_log_bin = 0;\n"
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.environment.credentials.mysql_root}';\n"
        )
        return Command(
            [
                *self._server(),
                f"--datadir={self._data}",
                f"--port={self._port}",
                f"--bind-address={LOOPBACK}",
                f"--socket={self._socket}",
                f"--pid-file={self._folder / 'mysqld.pid'}",
                f"--init-file={init_file}",
                "--mysqlx=0",
                "--secure-file-priv=",
                "--innodb-buffer-pool-size=256M",
                *_SMALL_PERFORMANCE_SCHEMA,
                *self.options,
            ],
            self.environment.base,
        )

    def is_ready(self) -> bool:
        execute(self.root, ["SELECT 1"])
        return True

    @property
    def root(self) -> MySQLAccount:
        return MySQLAccount(LOOPBACK, self._port, "root", self.environment.credentials.mysql_root)

    @property
    def _port(self) -> int:
        return self.environment.port(self.ports[0])

    @property
    def _socket(self) -> Path:
        # A socket's path is limited to 107 bytes; the state folder's path may be longer.
        return Path(tempfile.gettempdir()) / f"tandem-mysql-{self._port}.sock"

    @property
    def _folder(self) -> Path:
        return self.environment.data(self.name)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _server(self) -> list[str]:
        on_path = mysqld_on_path()
        if on_path:
            program, share = [on_path], []
        else:
            prefix = debian_prefix(self.environment.cache, MYSQL)
            usr = prefix.root / "usr"
            program = prefix.command("usr/sbin/mysqld")
            share = [
                f"--basedir={usr}",
                f"--lc-messages-dir={usr / 'share/mysql'}",
                f"--character-sets-dir={usr / 'share/mysql/charsets'}",
                f"--plugin-dir={usr / 'lib/mysql/plugin'}",
            ]
        # MySQL refuses to run as root without this option.
        user = ["--user=root"] if os.geteuid() == 0 else []
        return [*program, f"--defaults-file={SETTINGS}", *share, *user]


class MySQL(MySQLServer):
    """The only server of a stack."""

    name = "mysql"
    ports = ("mysql",)

    @property
    def outside(self) -> str | None:
        return without_account(self.environment.configuration.mysql_root_url)

    def after_ready(self) -> None:
        create_accounts(self.environment)

    def after_ready_inputs(self) -> bytes:
        return ACCOUNTS.read_bytes()
