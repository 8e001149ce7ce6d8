"""Cut a note into passages that can be cited by line: paragraphs and list items, without front matter, code or comments."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{3,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$|^[\s|:+-]+$")
_UNDER_HEADER = re.compile(r"^\s*\|?[\s:]*-+[\s|:+-]*\|[\s|:+-]*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a note: `line` counts from 1, `headings` are those above it, outermost first."""

    line: int
    text: str
    headings: tuple[str, ...] = ()


def passages(text: str) -> list[Passage]:
    """Every passage of a note in order."""
    lines = _COMMENT.sub(lambda found: "\n" * found.group().count("\n"), text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    found: list[Passage] = []
    headings: dict[int, str] = {}
    block: list[str] = []
    start = 0
    fence = ""

    def flush() -> None:
        joined = " ".join(line.strip() for line in block).strip()
        if joined:
            found.append(Passage(start, joined, tuple(headings[level] for level in sorted(headings))))
        block.clear()

    for number, line in enumerate(lines[body_start(lines) :], start=body_start(lines) + 1):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark.group(1).startswith(fence) else fence
            continue
        heading = _HEADING.match(line)
        if mark or heading or not line.strip() or _RULE.match(line) or _UNDERLINE.match(line):
            if _UNDERLINE.match(line) and len(block) == 1 and not _ITEM.match(block[0]):
                heading_text, level = block.pop(), 1 if line.strip().startswith("=") else 2
                _enter(headings, level, heading_text)
                continue
            if _UNDER_HEADER.match(line):
                block.clear()
            flush()
            if mark:
                fence = mark.group(1)[:3]
            if heading:
                _enter(headings, len(heading.group(1)), heading.group(2))
            continue
        if block and (_ITEM.match(line) or line.lstrip().startswith("|")):
            flush()
        if not block:
            start = number
        block.append(line)
    flush()
    return found


def body_start(lines: list[str]) -> int:
    """The number of lines that front matter (`---` to `---`, YAML or `+++`, TOML) takes at the head of a note."""
    if not lines or lines[0].lstrip("\ufeff").strip() not in ("---", "+++"):
        return 0
    mark = lines[0].lstrip("\ufeff").strip()
    for index, line in enumerate(lines[1:200], start=1):
        if line.strip() == mark:
            return index + 1
    return 0


def title_of(text: str, path: str) -> str:
    """The title of a note: its front matter's, its first heading's, else its file name."""
    lines = text.splitlines()
    head = body_start(lines)
    for line in lines[:head]:
        named = re.match(r"title\s*[:=]\s*[\"']?(.*?)[\"']?\s*$", line)
        if named and named.group(1):
            return named.group(1)
    for line in lines[head:]:
        heading = _HEADING.match(line)
        if heading and heading.group(2):
            return heading.group(2)
    return re.sub(r"\.\w+$", "", path.rsplit("/", 1)[-1])


def _enter(headings: dict[int, str], level: int, text: str) -> None:
    for deeper in [known for known in headings if known >= level]:
        del headings[deeper]
    headings[level] = text.strip()
