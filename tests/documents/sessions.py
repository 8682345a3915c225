"""Runs what documents show, as a reader would: in one shell, from the repository's root, on a system that runs.

- ```` ```sh ```` blocks are run as they are.
- Of ```` ```console ```` blocks the lines after `$ ` are run, each with the lines that continue it. What is shown
  below must be what is printed, but for white space, whatever has a digit in it (ids, times, counts), and `…`, which
  stands for anything.
  A GET of curl is repeated until it prints what is shown: a copy arrives a moment later.
- ```` ```sh not-run: reason ```` (and `console`) is not run.

The shell ends with the first command that fails, and that is a failure of the document.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from documents.markdown import Block, Document

_PIECE = re.compile(r"(?P<space>\s+)|(?P<anything>…)|(?P<varies>[\w.+-]*\d[\w.:+-]*)|(?P<literal>\w+|.)")
# A GET with nothing but an address.
_QUESTION = re.compile(r"curl -\w+ \S+")
_ATTEMPTS = 120
_IS_SHOWN = "import re, sys; sys.exit(not re.fullmatch(sys.argv[1], sys.stdin.read().strip(), re.DOTALL))"
_OPEN_QUOTE = re.compile(r"'|\"")


@dataclass(frozen=True)
class Step:
    """Something to run; `shown` is what it must print, None if that does not matter."""

    command: str
    line: int
    shown: str | None = None


class DocumentError(AssertionError):
    """A command printed something else than its document shows, or failed."""


def steps(document: Document) -> list[Step]:
    """What is run of a document, in order."""
    found: list[Step] = []
    for block in document.blocks:
        if block.not_run is not None:
            continue
        if block.language == "sh":
            found.append(Step(block.text, block.line))
        elif block.language == "console":
            found.extend(_typed(block))
    return found


def _typed(block: Block) -> Iterator[Step]:
    """The commands of a console, each with what is shown below it."""
    lines = block.text.splitlines()
    if not lines or not lines[0].startswith("$ "):
        raise ValueError(f"line {block.line}: a console begins with `$ ` and a command")
    while lines:
        command = lines.pop(0).removeprefix("$ ")
        while lines and not lines[0].startswith("$ ") and _continues(command):
            command += "\n" + lines.pop(0)
        shown: list[str] = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        yield Step(command, block.line, "\n".join(shown))


def _continues(command: str) -> bool:
    """Does the shell wait for another line? Of what is used here: a backslash, a pipe, an open quote, a loop."""
    if command.rstrip().endswith(("\\", "|", "&&", "do")):
        return True
    quote = None
    for mark in _OPEN_QUOTE.findall(command.replace('\\"', "")):
        quote = mark if quote is None else None if mark == quote else quote
    return quote is not None


def pattern(shown: str) -> re.Pattern[str]:
    """What is printed must match it whole."""
    parts = []
    for piece in _PIECE.finditer(shown.strip()):
        match piece.lastgroup:
            case "space":
                parts.append(r"\s+" if _separates(shown.strip(), piece) else r"\s*")
            case "anything":
                parts.append(r".*?")
            case "varies":
                parts.append(r"[\w.:+-]+(?:,\d{3})*")
            case _:
                parts.append(re.escape(piece[0]))
    return re.compile("".join(parts), re.DOTALL)


def _separates(text: str, space: re.Match[str]) -> bool:
    """Between words there must be some; elsewhere a line may have been broken for the page."""
    return text[space.start() - 1].isalnum() and text[space.end()].isalnum()


def _until_shown(step: Step) -> str:
    """The command, repeated for a minute at most if it only asks."""
    if step.shown is None or not _QUESTION.fullmatch(step.command):
        return step.command
    is_shown = shlex.join([sys.executable, "-c", _IS_SHOWN, pattern(step.shown).pattern])
    return (
        f"for _ in $(seq {_ATTEMPTS}); do answer=$({step.command}); "
        f'if {is_shown} <<<"$answer"; then break; fi; sleep 0.5; done; printf \'%s\\n\' "$answer"'
    )


def run(steps: Sequence[Step], *, folder: Path, variables: Mapping[str, str], within: float) -> None:
    """Run all of it. Raises `DocumentError`."""
    marker = "--- step"
    script = "".join(f"printf '\\n{marker} {number}\\n'\n{_until_shown(step)}\n" for number, step in enumerate(steps))
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
        check=False,
    )
    printed = [part.partition("\n")[2] for part in shell.stdout.split(f"\n{marker} ")[1:]]
    if shell.returncode:
        step = steps[len(printed) - 1]
        raise DocumentError(
            f"line {step.line}: exit code {shell.returncode} of\n{step.command}\nwhich printed\n{printed[-1]}"
        )
    for step, output in zip(steps, printed, strict=True):
        if step.shown is not None and not pattern(step.shown).fullmatch(output.strip()):
            raise DocumentError(
                f"line {step.line}:\n{step.command}\nprinted\n{output}\nand the document shows\n{step.shown}"
            )
