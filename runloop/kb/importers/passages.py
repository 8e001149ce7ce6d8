"""Text files as passages: pieces of a size to read and cite, with the exact lines they come from."""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET_CHARS = 1200  # a passage ends at the first paragraph that would take it beyond
_HEADING = re.compile(r" {0,3}#{1,6}\s+(.*)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*$")
_NO_TITLE = re.compile(r"\s*([-+*]\s|---|\*\*\*|```|~~~|[>|<]|\d+[.)]\s)|\t| {4}")  # lists, rules, code, quotations, tables, HTML
_FENCE = re.compile(r" {0,3}(```+|~~~+)")


class Passage(NamedTuple):
    """Lines ``line`` to ``end_line`` (from 1, inclusive), their exact text, and the heading above them."""

    line: int
    end_line: int
    text: str
    title: str | None


class _Block(NamedTuple):
    line: int
    lines: list[str]
    heading: str | None


def split_passages(text: str, *, markdown: bool) -> list[Passage]:
    """The passages of a file: whole paragraphs, together up to ``TARGET_CHARS``; a heading starts a new one."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    upto = array("Q", accumulate((len(line) + 1 for line in lines), initial=0))
    passages: list[Passage] = []
    title: str | None = None
    start: int | None = None
    end = 0

    def close() -> None:
        if start is not None:
            passages.append(Passage(start, end, "\n".join(lines[start - 1 : end]), title))

    for block in _blocks(lines, markdown=markdown):
        if block.heading is not None:
            close()
            start, title = None, block.heading or title
        first, last = block.line, block.line + len(block.lines) - 1
        if start is not None and upto[last] - upto[start - 1] > TARGET_CHARS:
            close()
            start = None
        for piece_first, piece_last in _pieces(lines, upto, first, last):
            if start is not None and piece_first != first:
                close()
                start = None
            start = piece_first if start is None else start
            end = piece_last
    close()
    return passages


def _blocks(lines: list[str], *, markdown: bool) -> Iterator[_Block]:
    """Paragraphs, with fenced code kept whole; a Markdown heading is a block of its own."""
    block: list[str] = []
    begun = 0
    fence: str | None = None
    may_be_title = True
    for number, line in enumerate(lines, 1):
        mark = _FENCE.match(line) if markdown else None
        heading = _HEADING.match(line) if markdown and fence is None else None
        if block and markdown and fence is None and may_be_title and _UNDERLINE.match(line):
            yield _Block(begun, [*block, line], " ".join(map(str.strip, block)))
            block = []
            continue
        if fence is None and (not line.strip() or heading):
            if block:
                yield _Block(begun, block, None)
                block = []
            if heading:
                yield _Block(number, [line], heading[1].rstrip().rstrip("#").rstrip())
            continue
        if mark is not None:
            fence = mark[1] if fence is None else None if _closes(fence, line) else fence
        if not block:
            begun, may_be_title = number, True
        may_be_title = may_be_title and not _NO_TITLE.match(line)
        block.append(line)
    while block and not block[-1].strip():
        block.pop()
    if block:
        yield _Block(begun, block, None)


def _closes(fence: str, line: str) -> bool:
    """Whether the line ends the fenced code: the same characters, at least as many, and nothing else."""
    mark = line.strip()
    return len(mark) >= len(fence) and not mark.strip(fence[0])


def _pieces(lines: list[str], upto: array[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """A block cut at line ends where it is longer than a passage; ``upto`` are the characters of the lines up to each."""
    start = first
    for number in range(first + 1, last + 1):
        if upto[number] - upto[start - 1] > TARGET_CHARS:
            yield from _without_blanks(lines, start, number - 1)
            start = number
    yield from _without_blanks(lines, start, last)


def _without_blanks(lines: list[str], first: int, last: int) -> Iterator[tuple[int, int]]:
    """The lines without blank ones at either end; nothing where all are blank."""
    filled = [number for number in range(first, last + 1) if lines[number - 1].strip()]
    if filled:
        yield filled[0], filled[-1]
