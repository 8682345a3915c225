"""Reads the repository's Dockerfiles."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.manifests import ROOT


@dataclass
class Stage:
    """A stage of a Dockerfile: its base image, and its instructions with their arguments."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, instruction: str) -> list[str]:
        return [text for name, text in self.instructions if name == instruction]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it sets."""
        return dict(part.split("=", 1) for text in self.arguments("ENV") for part in shlex.split(text))

    @property
    def copied(self) -> dict[str, str]:
        """The source in the repository of each file or folder in the image."""
        found = {}
        for text in self.arguments("COPY"):
            *sources, target = [each for each in text.split() if not each.startswith("--")]
            for source in sources if "--from" not in text else ():
                is_folder = target.endswith("/")
                found[f"{target}{Path(source).name}" if is_folder else target] = source
        return found


def dockerfiles() -> Sequence[Path]:
    return [
        ROOT / "services/Dockerfile",
        ROOT / "infra/Dockerfile",
        ROOT / "infra/kubernetes/components/strimzi/Dockerfile",
    ]


def stages(file: Path) -> list[Stage]:
    found: list[Stage] = []
    text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    for line in text.replace("\\\n", " ").splitlines():
        instruction, _, arguments = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            found.append(Stage(name, base))
        elif instruction and found:
            found[-1].instructions.append((instruction, arguments.strip()))
    return found


def stage(name: str) -> Stage:
    """A stage of infra/Dockerfile."""
    (found,) = [each for each in stages(ROOT / "infra/Dockerfile") if each.name == name]
    return found
