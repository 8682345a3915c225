"""Runs commands of `embedded-stack` on a stack with its own state folder and ports."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class StackCommands:
    state: Path
    offset: int

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TANDEM_STATE_DIR": str(self.state), "TANDEM_PORT_OFFSET": str(self.offset)}

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "embedded_stack.cli", *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command without waiting for its end."""
        return subprocess.Popen(
            self.command(*arguments), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def pid(self, name: str) -> int | None:
        """The number in the pid file."""
        try:
            return int((self.state / "run" / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def supervisor_output(self) -> str:
        """The output of a supervisor in the background."""
        return (self.state / "log" / "supervisor.log").read_text()

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses in `.stack/env`."""
        lines = (self.state / "env").read_text().splitlines()
        return dict(line.split("=", maxsplit=1) for line in lines)

    @property
    def snapshots(self) -> int:
        """The number of snapshots that Debezium has completed."""
        log = (self.state / "log" / "connect.log").read_text()
        return log.count("Snapshot ended with SnapshotResult [status=COMPLETED")

    @property
    def alive(self) -> list[str]:
        """The command lines of all processes with an open file of the state folder, removed files included."""
        found = []
        for process in psutil.process_iter():
            # It may end meanwhile.
            with contextlib.suppress(OSError, psutil.Error):
                links = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
                if any(link.startswith(f"{self.state}/") for link in links):
                    found.append(" ".join(process.cmdline()))
        return found
