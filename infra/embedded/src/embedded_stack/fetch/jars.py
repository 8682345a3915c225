"""Java programs from a Maven repository: exact jars, each checked against the SHA-256 of its lock file.

Resolving versions is Maven's work and done by `make lock` (`lock_jars`); here neither Maven nor Java is needed.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedded_stack.configuration import REPOSITORY
from embedded_stack.errors import StackError
from embedded_stack.fetch.cache import locked, require_room
from embedded_stack.fetch.progress import progress_bar

LOCKS = REPOSITORY / "infra" / "embedded" / "jars"
_THREADS = 8
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, order=True)
class Jar:
    """One line of a lock file: `group:artifact:version sha256`."""

    group: str
    artifact: str
    version: str
    sha256: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Raises `ValueError`."""
        coordinates, sha256 = line.split()
        group, artifact, version = coordinates.split(":")
        return cls(group, artifact, version, sha256)

    def __str__(self) -> str:
        return f"{self.coordinates} {self.sha256}"

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """As Maven names it."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(name: str) -> list[Jar]:
    """The jars of the lock file `NAME.lock`."""
    lines = (LOCKS / f"{name}.lock").read_text().splitlines()
    return [Jar.parse(line) for line in lines if line and not line.startswith("#")]


def jars_folder(cache: Path, name: str, repository: str | None) -> Path:
    """A folder that has the jars of `NAME.lock` and nothing else; the missing ones are fetched.

    `repository` is the address of a Maven repository, None for Maven Central. Raises `StackError`.
    """
    jars = locked_jars(name)
    version = hashlib.sha256("".join(map(str, jars)).encode()).hexdigest()[:12]
    folder = cache / f"{name}-{version}"
    if _missing(folder, jars):
        with locked(cache):
            # Another process may have fetched them while this one waited.
            if missing := _missing(folder, jars):
                require_room(cache)
                folder.mkdir(exist_ok=True)
                _fetch(missing, folder, repository, f"{name}: {len(missing)} jars from the Maven repository")
    return folder


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    present = {file.name for file in folder.glob("*.jar")}
    return [jar for jar in jars if jar.file_name not in present]


def _fetch(jars: Collection[Jar], folder: Path, repository: str | None, title: str) -> None:
    print(f"Fetching {title}", flush=True)
    fetched: list[Jar] = []

    def fetch(jar: Jar) -> None:
        _fetch_one(jar, folder, repository)
        fetched.append(jar)

    with (
        progress_bar("downloading", lambda: len(fetched), len(jars)),
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        try:
            list(pool.map(fetch, jars))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(jar: Jar, folder: Path, repository: str | None) -> None:
    """Move the jar into the folder when it is whole and its hash is right. Raises `StackError`."""
    import requests  # noqa: PLC0415 - a supervisor has no use for it and runs for long

    failure = ""
    for _ in range(_ATTEMPTS):
        # A download that breaks off leaves a part of the file, which must not be taken for the jar.
        with tempfile.TemporaryDirectory(prefix="jar-", dir=folder) as download:
            try:
                file = _download(jar, Path(download), repository)
            except (requests.RequestException, RuntimeError) as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            found = hashlib.sha256(file.read_bytes()).hexdigest()
            if found != jar.sha256:
                raise StackError(f"{jar.coordinates} has SHA-256 {found}, and the lock file says {jar.sha256}.")
            shutil.move(file, folder / jar.file_name)
            return
    raise StackError(
        f"{jar.coordinates} can't be downloaded; is there a network? TANDEM_MAVEN_REPOSITORY names a mirror. "
        f"({failure})"
    )


def _download(jar: Jar, folder: Path, repository: str | None) -> Path:
    from jgo.maven import MavenContext  # noqa: PLC0415 - a supervisor has no use for it and runs for long

    remote = {"central": repository.rstrip("/")} if repository else None
    maven = MavenContext(repo_cache=folder, remote_repos=remote, timeout=_TIMEOUT_SECONDS)
    path: Path = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return path
