"""Comments and blank lines of an opening, each at the key or entry that it belongs to, whatever form that is printed in.

A comment at the end of a line belongs to the first key or entry of that line; one on a line of its own, and a blank line, to the next.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import yaml

from runloop.openings.brace_tokens import Comment, is_brace, tokenize
from runloop.openings.lines import Lines
from runloop.openings.yamltree import LOADER, Fields, Items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.openings.errors import Place, Report
    from runloop.openings.yamltree import Tree

_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*+[ \t]++(#[^\r\n]*+)")
_BREAKS = re.compile("[\x85\u2028\u2029]")
_LIMITS = (yaml.ScalarEvent, yaml.StreamEndEvent)
_COMMENT = re.compile(r"#[^\r\n]*+")
_LINE_END = re.compile(r"\r\n|\r|\n")


class Notes:
    """The comments of one document; those that were printed are taken out. A blank line is an empty comment."""

    def __init__(self, tree: Tree, text: str, comments: list[Comment]) -> None:
        self._before: dict[Place, list[str]] = {}
        self._after: dict[Place, str] = {}
        self.tail: list[str] = []
        self._left = len(comments)
        self._attach(sorted(set(_anchors(tree))), text, comments)

    def take(self, *places: Place) -> tuple[list[str], str]:
        """What stands before the first of ``places``, and behind it; what belongs to the others comes before it too."""
        before: list[str] = []
        after = ""
        for place in dict.fromkeys(places):
            above = self._before.pop(place, [])
            before += above
            behind = self._after.pop(place, "")
            self._left -= bool(behind) + sum(map(bool, above))
            if place == places[0]:
                after = behind
            elif behind:
                before.append(behind)
        return [note for index, note in enumerate(before) if note or index == 0 or before[index - 1]], after

    def at(self, place: Place) -> bool:
        """Whether a comment belongs to the key or entry at ``place``."""
        return place in self._after or any(self._before.get(place, ()))

    def inside(self, tree: Tree) -> bool:
        """Whether a comment belongs to a key or entry within ``tree``."""
        return self._left > 0 and any(map(self.at, _anchors(tree)))

    def _attach(self, places: list[Place], text: str, comments: list[Comment]) -> None:
        lines = Lines(text)
        source = ["", *_LINE_END.split(text)]
        first: dict[int, Place] = {}
        for place in places:
            first.setdefault(place.line, place)
        for comment in comments:
            at = lines.place(comment.start)
            anchor = first.get(at.line)
            if anchor is not None and anchor < at:
                self._after[anchor] = comment.text
                continue
            following = bisect_right(places, at)
            notes = self._before.setdefault(places[following], []) if following < len(places) else self.tail
            if at.line > 1 and not source[at.line - 1].strip():
                notes.append("")
            notes.append(comment.text)
        for line, place in first.items():
            if line > 1 and not source[line - 1].strip():
                self._before.setdefault(place, []).append("")


def comments_of(text: str, report: Report) -> list[Comment]:
    """The comments of a sound document in either form, without the characters that end a line in YAML alone."""
    found = tokenize(text, report)[1] if is_brace(text) else _yaml_comments(text)
    return [Comment(_BREAKS.sub(" ", comment.text).rstrip(), comment.start) for comment in found]


def _yaml_comments(text: str) -> Iterator[Comment]:
    """Whatever follows a ``#`` outside scalars; and the header of a block scalar may have a comment of its own."""
    start = 0
    events: Iterator[Any] = yaml.parse(text, Loader=LOADER)
    for event in events:
        if type(event) not in _LIMITS:
            continue
        begin = event.start_mark.index
        yield from _comments_between(text, start, begin)
        start = event.end_mark.index
        if getattr(event, "style", None) in ("|", ">") and (match := _BLOCK_HEADER.match(text, begin)):
            yield Comment(match[1], match.start(1))


def _comments_between(text: str, start: int, end: int) -> Iterator[Comment]:
    while (match := _COMMENT.search(text, start, end)) is not None:
        yield Comment(match[0], match.start())
        start = match.end()


def _anchors(tree: Tree) -> Iterator[Place]:
    """Where the keys and entries within ``tree`` stand."""
    trees = [tree]
    while trees:
        inner = trees.pop()
        if isinstance(inner, Fields):
            for entry in inner.entries.values():
                yield entry.key_at
                trees.append(entry.value)
        elif isinstance(inner, Items):
            for item in inner.items:
                yield item.at
                trees.append(item)
