"""`make lock`: Maven resolves the `pom` files in `infra/embedded/jars`, and this writes their lock files.

python -m embedded_stack.fetch.lock_jars
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from embedded_stack.fetch.jars import LOCKS, Jar

_HEADER = "# Written by `make lock` from {name}.xml: group:artifact:version sha256\n"


def main() -> None:
    kafka = _resolved("kafka")
    _write("kafka", kafka)
    # A plugin with its own copy of a jar of the worker would load different classes of the same names.
    of_worker = {(jar.group, jar.artifact) for jar in kafka}
    _write("connectors", [jar for jar in _resolved("connectors") if (jar.group, jar.artifact) not in of_worker])


def _resolved(name: str) -> list[Jar]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "jars.txt"
        command = [
            *("mvn", "--batch-mode", "--quiet", "--strict-checksums", "--file", str(LOCKS / f"{name}.xml")),
            *("dependency:list", "-DincludeScope=runtime", f"-DoutputFile={output}"),
            "-DoutputAbsoluteArtifactFilename=true",
        ]
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            sys.exit("error: `make lock` needs Maven (mvn); on Debian: apt-get install maven")
        except subprocess.CalledProcessError as error:
            sys.exit(f"error: Maven can't resolve {name}.xml (exit code {error.returncode}); see above")
        return sorted(_jar(line.split()[0]) for line in output.read_text().splitlines() if ":jar:" in line)


def _jar(line: str) -> Jar:
    """Parse `group:artifact:jar:version:scope:path`."""
    group, artifact, _packaging, version, _scope, path = line.split(":", maxsplit=5)
    return Jar(group, artifact, version, hashlib.sha256(Path(path).read_bytes()).hexdigest())


def _write(name: str, jars: Collection[Jar]) -> None:
    lines = [_HEADER.format(name=name), *(f"{jar}\n" for jar in jars)]
    (LOCKS / f"{name}.lock").write_text("".join(lines))
    print(f"{name}.lock: {len(jars)} jars")


if __name__ == "__main__":
    main()
