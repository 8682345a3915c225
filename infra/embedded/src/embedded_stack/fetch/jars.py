"""Downloads the jars of Java programs from a Maven repository, and checks the SHA-256 of the lock file.

Maven resolves the versions in `make lock` (`lock_jars`). A download needs neither Maven nor Java.
"""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from embedded_stack.configuration import REPOSITORY
from embedded_stack.fetch.cache import download_error, locked, require_space_in
from embedded_stack.fetch.progress import progress_bar
from service_kit.retry import Backoff, Retrier

LOCKS = REPOSITORY / "infra" / "embedded" / "jars"
_THREADS = 8
_ATTEMPTS = 4
_BACKOFF = Backoff(initial=0.5, maximum=2.0, jitter=0.0)
_DOWNLOAD_PREFIX = "download-"
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
        """The file name that Maven uses."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(name: str) -> list[Jar]:
    """The jars of the lock file `NAME.lock`."""
    lines = (LOCKS / f"{name}.lock").read_text().splitlines()
    return [Jar.parse(line) for line in lines if line and not line.startswith("#")]


def jars_folder(cache: Path, name: str, repository: str | None) -> Path:
    """A folder with exactly the jars of `NAME.lock`. Missing ones are downloaded.

    An interrupted download is continued with the missing jars. `repository` is the address of a Maven repository, None
    for Maven Central. Raises `StackError`.
    """
    jars = locked_jars(name)
    version = hashlib.sha256("".join(map(str, jars)).encode()).hexdigest()[:12]
    folder = cache / f"{name}-{version}"
    if _missing(folder, jars):
        with locked(cache):
            # Another process may have downloaded them while this one waited for the lock.
            if missing := _missing(folder, jars):
                require_space_in(cache)
                folder.mkdir(exist_ok=True)
                for remainder in folder.glob(f"{_DOWNLOAD_PREFIX}*"):
                    shutil.rmtree(remainder)
                print(f"Fetching {name}: {len(missing)} jars from the Maven repository", flush=True)
                _Download(folder, repository).fetch(missing)
    return folder


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    present = {file.name for file in folder.glob("*.jar")}
    return [jar for jar in jars if jar.file_name not in present]


@dataclass(frozen=True)
class _Download:
    folder: Path
    repository: str | None
    _interrupted: threading.Event = field(default_factory=threading.Event)

    def fetch(self, jars: Collection[Jar]) -> None:
        """Download several jars at the same time. Raises `StackError` with the first failure."""
        fetched: list[Jar] = []

        def fetch(jar: Jar) -> None:
            self._fetch_one(jar)
            fetched.append(jar)

        with (
            progress_bar("downloading", lambda: len(fetched), len(jars)),
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            try:
                list(pool.map(fetch, jars))
            except BaseException:
                self._interrupted.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _fetch_one(self, jar: Jar) -> None:
        """Move the jar into the folder when it is complete and its hash is right. Raises `StackError`."""
        import requests  # noqa: PLC0415 - a supervisor has no use for it and runs for long

        def attempt() -> None:
            if self._interrupted.is_set():
                return
            # An interrupted download leaves a part of the file, which must not be taken for the jar.
            with tempfile.TemporaryDirectory(prefix=_DOWNLOAD_PREFIX, dir=self.folder) as download:
                file = _download(jar, Path(download), self.repository)
                found = hashlib.sha256(file.read_bytes()).hexdigest()
                if found != jar.sha256:
                    raise _HashMismatchError(f"it has SHA-256 {found}, and the lock file says {jar.sha256}")
                shutil.move(file, self.folder / jar.file_name)

        retryable = (requests.RequestException, RuntimeError, OSError)
        try:
            Retrier(on=retryable, backoff=_BACKOFF, attempts=_ATTEMPTS).run_blocking(attempt)
        except retryable as error:
            reason = str(error) if isinstance(error, _HashMismatchError) else f"{type(error).__name__}: {error}"
            remedy = "TANDEM_MAVEN_REPOSITORY names a mirror"
            raise download_error(self.folder, jar.coordinates, f"{reason}; {remedy}") from error


class _HashMismatchError(RuntimeError):
    """A repository's jar is not the one of the lock file. It may be a page of a proxy, so it is retried."""


def _download(jar: Jar, folder: Path, repository: str | None) -> Path:
    from jgo.maven import MavenContext  # noqa: PLC0415 - a supervisor has no use for it and runs for long

    remote = {"central": repository.rstrip("/")} if repository else None
    maven = MavenContext(repo_cache=folder, remote_repos=remote, timeout=_TIMEOUT_SECONDS)
    path: Path = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return path
