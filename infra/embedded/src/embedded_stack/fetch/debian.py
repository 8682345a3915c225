"""Programs of Debian's `sid`, unpacked into a private folder. The packages of the host are not changed.

apt has a private state here and verifies Debian's signatures. sid's libc is newer than that of a stable host, so its
programs are started with sid's own loader.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embedded_stack.configuration import require_without
from embedded_stack.errors import StackError
from embedded_stack.fetch.cache import download_error, entry
from embedded_stack.fetch.progress import progress_bar

SUITE = "sid"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("apt-get", "dpkg-deb", "dpkg")
UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/perl", "var")


def is_debian_like() -> bool:
    return all(shutil.which(tool) for tool in TOOLS) and KEYRING.exists()


@dataclass(frozen=True)
class DebianPackages:
    """The packages of one prefix, which is the cache entry `name`. `title` is shown during the download."""

    name: str
    title: str
    packages: tuple[str, ...] = ()
    without_dependencies: tuple[str, ...] = ()
    suite: str = SUITE


MYSQL = DebianPackages(name=f"debian-{SUITE}", title="MySQL from Debian (60 MB)", packages=("mysql-server-core",))
NGINX = DebianPackages(
    name=f"debian-{SUITE}-nginx", title="nginx from Debian (10 MB)", packages=("nginx", "libnginx-mod-stream")
)


# A library that programs of the host load, so it is that of a release whose libc is old enough for all hosts.
FAKETIME = DebianPackages(
    name="debian-bookworm-faketime",
    title="libfaketime from Debian (40 kB)",
    without_dependencies=("libfaketime",),
    suite="bookworm",
)


@dataclass(frozen=True)
class DebianPrefix:
    """A folder with the files that an installation of the packages would put into `/`."""

    root: Path

    @property
    def libraries(self) -> Path:
        return next((self.root / "usr" / "lib").glob("*-linux-gnu*"))

    @property
    def loader(self) -> Path:
        return next(self.libraries.glob("ld-linux*.so.*"))

    def command(self, program: str) -> list[str]:
        """The command that starts `program` (a path below the prefix) with the libraries of the prefix."""
        path = str(self.root / program)
        return [str(self.loader), "--library-path", str(self.libraries), "--argv0", path, path]


def debian_prefix(cache: Path, contents: DebianPackages) -> DebianPrefix:
    """The prefix with these packages, fetched if the cache doesn't have it yet. Raises `StackError`."""
    require_without(cache, {":": "colon", ";": "semicolon"}, "TANDEM_CACHE_DIR", "a library path")
    return DebianPrefix(entry(cache, contents.name, partial(_fill, contents)) / "root")


def _fill(contents: DebianPackages, draft: Path) -> None:
    print(f"Fetching {contents.title}", flush=True)
    state = draft / "apt"
    for folder in (state / "lists" / "partial", state / "archives" / "partial"):
        folder.mkdir(parents=True)
    (state / "status").touch()
    sources_list = state / "sources.list"
    sources_list.write_text(f"deb [signed-by={KEYRING}] {mirror()} {contents.suite} main\n")
    options = [
        f"Dir::Etc::sourcelist={sources_list}",
        "Dir::Etc::sourceparts=-",
        f"Dir::State::Lists={state / 'lists'}",
        f"Dir::State::status={state / 'status'}",
        f"Dir::Cache::archives={state / 'archives'}",
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
        "APT::Install-Recommends=false",
        "APT::Sandbox::User=root",
        "Acquire::Languages=none",
        "Acquire::Retries=2",
        "Dpkg::Use-Pty=0",
    ]
    apt = ["apt-get", "-qq", *(part for option in options for part in ("-o", option))]
    archives = state / "archives"
    _run([*apt, "update", "--error-on=any"], archives)
    install = [*apt, "install", "-y", "--download-only", *contents.packages]
    sizes = re.findall(r"^'\S+' \S+ (\d+) ", _run([*install, "--print-uris"], archives), re.MULTILINE)
    with progress_bar("downloading", lambda: _bytes_in(archives), sum(map(int, sizes))):
        _run(install, archives)
    if contents.without_dependencies:
        _run([*apt, "download", *contents.without_dependencies], archives)
    root = draft / "root"
    root.mkdir()
    packages = sorted(archives.glob("*.deb"))
    unpacked: list[Path] = []
    with progress_bar("unpacking", lambda: len(unpacked), len(packages)):
        for package in packages:
            _run(["dpkg-deb", "-x", str(package), str(root)], archives)
            unpacked.append(package)
    for unneeded in UNNEEDED:
        shutil.rmtree(root / unneeded, ignore_errors=True)
    (draft / "packages.txt").write_text("".join(f"{package.stem}\n" for package in packages))
    shutil.rmtree(state)


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.deb"))


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        reason = errors[-1] if errors else f"exit code {done.returncode}"
        raise download_error(directory, "Debian's packages", f"{command[0]}: {reason}")
    return done.stdout


def mirror(etc_apt: Path = Path("/etc/apt")) -> str:
    """The Debian mirror of this machine: its first source with a `main` component of Debian."""
    for source in [etc_apt / "sources.list", *sorted(etc_apt.glob("sources.list.d/*"))]:
        if not source.is_file():
            continue
        text = source.read_text(errors="replace")
        lines = re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+\S+\s+main\b", text, re.MULTILINE)
        stanzas = re.findall(r"^URIs:\s*(\S+)", text, re.MULTILINE) if source.suffix == ".sources" else []
        for address in lines + stanzas:
            if address.rstrip("/").endswith("/debian"):
                return str(address)
    raise StackError("/etc/apt has no Debian mirror, from which MySQL is downloaded. Try `docker compose up`.")
