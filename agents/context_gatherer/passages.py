"""Cut a note into passages that can be cited by line: paragraphs and list items, without front matter, code or comments."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARS = 480
"""Characters of one passage; a longer paragraph is several."""
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{3,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$|^[\s|:+-]+$")
_UNDER_HEADER = re.compile(r"^\s*\|?[\s:]*-+[\s|:+-]*\|[\s|:+-]*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[\u3002\uff01\uff1f]")


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a note: `line` counts from 1, `headings` are those above, outermost first; `whole` is the paragraph of a part."""

    line: int
    text: str
    headings: tuple[str, ...] = ()
    whole: str = ""


def passages(text: str) -> list[Passage]:
    """Every passage of a note in order."""
    lines = _COMMENT.sub(lambda found: "\n" * found.group().count("\n"), text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    found: list[Passage] = []
    headings: dict[int, str] = {}
    block: list[str] = []
    start = 0
    fence = ""

    def flush() -> None:
        above = tuple(headings[level] for level in sorted(headings))
        whole = " ".join(line.strip() for line in block)
        found.extend(Passage(start + offset, text, above, whole if text != whole else "") for offset, text in _pieces(block))
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


def _pieces(block: list[str]) -> Iterator[tuple[int, str]]:
    """A paragraph in pieces of at most MAX_CHARS, each with the number of lines before it: cut after sentences, else lines, else words."""
    text = " ".join(line.strip() for line in block)
    starts = [0]
    for line in block:
        starts.append(starts[-1] + len(line.strip()) + 1)
    at = 0
    while at < len(text):
        end = len(text)
        if end - at > MAX_CHARS:
            window = text[at : at + MAX_CHARS]
            sentences = [found.end() for found in _SENTENCE_END.finditer(window)]
            line = starts[bisect.bisect_right(starts, at + MAX_CHARS) - 1]
            end = at + sentences[-1] if sentences else line if line > at else at + (window.rfind(" ") + 1 or MAX_CHARS)
        if piece := text[at:end].strip():
            yield bisect.bisect_right(starts, at) - 1, piece
        at = end + text.startswith(" ", end)


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
