"""What a document shows between fences, where it links to, and what can be linked to in it."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]\[]*\]\(<?([^)\s>]+)>?\)")
_HEADING = re.compile(r"^#{1,6} +(.*)$", re.MULTILINE)
_NOT_RUN = "not-run:"


@dataclass(frozen=True)
class Block:
    """`language` is the first word after the fence; `not_run` the reason why what is in it is not run, or None."""

    language: str
    text: str
    line: int
    not_run: str | None


@dataclass(frozen=True)
class Document:
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def blocks(self) -> list[Block]:
        return [self._block(match) for match in _FENCE.finditer(self.text)]

    @cached_property
    def links(self) -> set[str]:
        return set(_LINK.findall(_CODE.sub("", self._prose)))

    @cached_property
    def anchors(self) -> set[str]:
        """As GitHub makes them of headings; of the same ones the second gets a number appended."""
        found: dict[str, int] = {}
        for heading in _HEADING.findall(self._prose):
            text = _LINK.sub(lambda link: link[0].partition("](")[0][1:], heading)
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            found[anchor] = found.get(anchor, -1) + 1
        return {
            f"{anchor}-{number}" if number else anchor for anchor, last in found.items() for number in range(last + 1)
        }

    @property
    def _prose(self) -> str:
        return _FENCE.sub("", self.text)

    def _block(self, match: re.Match[str]) -> Block:
        language, _, rest = match["info"].partition(" ")
        if rest and not rest.startswith(_NOT_RUN):
            raise ValueError(f"{self.path}: after ```{language} only `{_NOT_RUN} …` is understood, not {rest!r}")
        reason = rest.removeprefix(_NOT_RUN).strip() if rest else None
        if reason == "":
            raise ValueError(f"{self.path}: a block is not run, but no reason is given")
        return Block(language, match["text"], self.text.count("\n", 0, match.start()) + 1, reason)
