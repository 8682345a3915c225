"""Anonymous facts about the machine, the versions of packages, and the CPU use of other programs."""

import os
import platform
import re
import time
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

import psutil


def machine_facts() -> dict[str, str | int]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "memory_mb": psutil.virtual_memory().total // 1024**2,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str], environment: Path) -> dict[str, str]:
    """Return the versions of these packages in a virtual environment."""
    folders = [str(folder) for folder in environment.glob("lib/python*/site-packages")]
    installed = {_normalized(each.name): each.version for each in distributions(path=folders)}
    return {package: installed[_normalized(package)] for package in packages}


class ForeignLoad:
    """CPU use of other programs and of other guests of the host."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def cores(self) -> float:
        """Return the average number of cores that others have used since the start."""
        taken = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return max(0.0, taken / (time.monotonic() - self._began))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.guest - times.guest_nice - times.idle - times.iowait


def _own_seconds() -> float:
    """Return the CPU time of this process and of all its children, exited ones included."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _normalized(name: str) -> str:
    """Normalize a package name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1] if found else platform.machine()
