"""An opening printed as YAML: blocks for what has structure, one line for what is short."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from runloop.openings.fmt_lines import STEP, WIDTH, framed, on_one_line, quoted, reads_as_text, unquoted
from runloop.openings.yamltree import Fields, Items, Scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.openings.fmt_notes import Notes
    from runloop.openings.scalars import Json
    from runloop.openings.yamltree import Tree

_BLOCKS = {"params": 1, "policy": 1, "nodes": 2, "edges": 1}
"""How many levels below a key of the document are never written on one line."""
_NO_BLOCKS: Mapping[str, int] = MappingProxyType({})
_WORDS = re.compile(r"""[^\W\d](?>(?:[\w./@+()'"!=?<>~%*&;,-]++|:(?=[\w/])|[ ](?=[^ #]))*)|\d++[a-zA-Z]++""")
"""An atomic group: before Python 3.11.5 ``(?:…)*+`` keeps of its last round what failed in it (gh-106052)."""
_KEY = re.compile(r"[^\W\d][\w.-]*+")
_ELSEWHERE = re.compile(r"(?:y|n|yes|no|on|off)", re.IGNORECASE)
_FOLDED = re.compile(r"[^ \n]+(?: [^ \n]+)+")


def to_yaml(tree: Fields, notes: Notes) -> str:
    """The document ``tree`` as YAML, with its comments."""
    printer = _Printer(notes)
    return "\n".join([*printer.mapping(tree, 0, _BLOCKS), *notes.tail]) + "\n"


class _Printer:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._flats: dict[int, str | None] = {}

    def mapping(self, tree: Fields, indent: int, blocks: Mapping[str, int] = _NO_BLOCKS) -> list[str]:
        lines: list[str] = []
        for index, (key, entry) in enumerate(tree.entries.items()):
            note = self._notes.take(entry.key_at)
            head, levels = f"{' ' * indent}{_key(key)}:", blocks.get(key, 0)
            lines += framed(note, indent, self._value(head, entry.value, indent, levels), first=index == 0)
        return lines

    def _sequence(self, tree: Items, indent: int, levels: int) -> list[str]:
        lines: list[str] = []
        for index, item in enumerate(tree.items):
            note = self._notes.take(item.at)
            lines += framed(note, indent, self._value(" " * indent + "-", item, indent, levels), first=index == 0)
        return lines

    def _value(self, head: str, tree: Tree, indent: int, levels: int) -> list[str]:
        """The value behind ``head``, in a block below it unless it is short."""
        if isinstance(tree, Scalar):
            return _scalar(f"{head} ", tree.value, indent)
        empty = not (tree.entries if isinstance(tree, Fields) else tree.items)
        if empty or (levels <= 0 and not self._notes.inside(tree)):
            text = self._flat(tree)
            if text is not None and (empty or len(head) + len(text) < WIDTH):
                return [f"{head} {text}"]
        block = self.mapping(tree, indent + STEP) if isinstance(tree, Fields) else self._sequence(tree, indent + STEP, levels - 1)
        return _dashed(head, block) if head.endswith("-") else [head, *block]

    def _flat(self, tree: Tree) -> str | None:
        """The value on one line; None if it does not fit on any, or holds text of several lines, which is easier to read in a block."""
        if isinstance(tree, Scalar):
            if not isinstance(tree.value, str):
                return unquoted(tree.value)
            return None if "\n" in tree.value else _text(tree.value, inside=True)
        if id(tree) not in self._flats:
            self._flats[id(tree)] = self._joined(tree)
        return self._flats[id(tree)]

    def _joined(self, tree: Fields | Items) -> str | None:
        if isinstance(tree, Items):
            parts = [("", self._flat(item)) for item in tree.items]
        else:
            parts = [(f"{_key(key)}: ", self._flat(entry.value)) for key, entry in tree.entries.items()]
        return on_one_line(parts, "{}" if isinstance(tree, Fields) else "[]")


def _dashed(head: str, lines: list[str]) -> list[str]:
    """A block as an entry of a list: comments that come first stand above the dash."""
    start = next(index for index, line in enumerate(lines) if not line.lstrip().startswith("#"))
    above = [" " * (len(head) - 1) + line.lstrip() for line in lines[:start]]
    return [*above, f"{head} {lines[start][len(head) + 1 :]}", *lines[start + 1 :]]


def _scalar(head: str, value: Json, indent: int) -> list[str]:
    if not isinstance(value, str):
        return [head + unquoted(value)]
    inner = " " * (indent + STEP)
    lines = value.removesuffix("\n").split("\n")
    visible = all(line.isprintable() and line == line.rstrip() for line in lines)
    if "\n" in value and visible and lines[0] and lines[-1] and not value.startswith(" "):
        mark = "|" if value.endswith("\n") else "|-"
        return [head + mark, *(inner + line if line else "" for line in lines)]
    text = _text(value)
    if len(head) + len(text) > WIDTH and visible and _FOLDED.fullmatch(value):
        return [head + ">-", *_filled(value, inner)]
    return [head + text]


def _filled(text: str, inner: str) -> list[str]:
    lines: list[str] = []
    line = inner
    for word in text.split(" "):
        if line != inner and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = inner
        line += word if line == inner else f" {word}"
    return [*lines, line]


def _text(text: str, *, inside: bool = False) -> str:
    """Text without quotes where every YAML reader takes it for text; ``inside`` a collection on one line some end it at a comma or a ?."""
    if not _WORDS.fullmatch(text) or _ELSEWHERE.fullmatch(text) or not reads_as_text(text) or (inside and not {",", "?"}.isdisjoint(text)):
        return quoted(text)
    return text


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and not _ELSEWHERE.fullmatch(key) and reads_as_text(key) else quoted(key)
