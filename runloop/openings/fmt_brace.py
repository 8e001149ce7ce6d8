"""An opening printed in the brace form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runloop.openings.brace import HEADED
from runloop.openings.fmt_lines import STEP, WIDTH, framed, on_one_line, quoted, reads_as_text, unquoted
from runloop.openings.yamltree import Fields, Items, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.openings.fmt_notes import Notes
    from runloop.openings.yamltree import Entry, Tree

_HEADER = ("version", "name")
_BLOCKS = ("params", "policy")
_ENDS = ("from", "to")
"""What the arrow of an edge says."""
_WORD = re.compile(r"(?:[\w.+]|-(?!>))+")
_TEMPLATE = re.compile(r"\{\{[ \t]*params\.[A-Za-z0-9_-]+[ \t]*\}\}")
_EXISTS = re.compile(r"exists\([\w-]+\.[\w-]+\)")
_GUARDED = re.compile(r'([\w-]+\.[\w-]+ (?:>=|<=|==|!=|>|<) )(?:(true|false|[-+]?[\d.][\w.+-]*)|"(.*)")', re.DOTALL)


def to_brace(tree: Fields, notes: Notes) -> str:
    """The document ``tree`` in the brace form, with its comments."""
    return "\n".join(_Printer(notes).document(tree)) + "\n"


class _Printer:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._flats: dict[int, str | None] = {}

    def document(self, tree: Fields) -> list[str]:
        note = self._notes.take(*(tree.entries[key].key_at for key in _HEADER))
        lines = framed(note, 0, [f"opening {quoted(_string(tree, 'name'))} {{"], first=True)
        statements = {"nodes": (self._node, HEADED), "edges": (self._edge, _ENDS)}
        parts = {key: entry for key, entry in tree.entries.items() if key not in _HEADER}
        for index, (key, entry) in enumerate(parts.items()):
            note = self._notes.take(entry.key_at)
            if key in statements and isinstance(entry.value, Items):
                printed = [f"{' ' * STEP}{key}:", *self._section(entry.value, *statements[key])]
            else:
                printed = self._entry(f"{' ' * STEP}{_key(key)}: ", entry.value, STEP, block=key in _BLOCKS)
            lines += framed(note, STEP, printed, first=index == 0)
        return [*lines, *(" " * STEP + note if note else "" for note in self._notes.tail), "}"]

    def _section(self, tree: Items, statement: Callable[[Fields], list[str]], taken: tuple[str, ...]) -> list[str]:
        lines: list[str] = []
        for index, item in enumerate(item for item in tree.items if isinstance(item, Fields)):
            note = self._notes.take(item.at, *(item.entries[key].key_at for key in taken if key in item.entries))
            lines += framed(note, 2 * STEP, statement(item), first=index == 0)
        return lines

    def _node(self, tree: Fields) -> list[str]:
        kind, _, name = _string(tree, "use").strip().partition(":")
        head = f"{' ' * 2 * STEP}{_string(tree, 'id')} := {kind}({quoted(name)}"
        arguments = tree.entries.get("with")
        given = arguments.value.entries if arguments and isinstance(arguments.value, Fields) else {}
        short = on_one_line([(f"{_key(key)}=", self._flat(entry.value)) for key, entry in given.items()], "()") if given else "()"
        if short is not None and len(head) + len(short) <= WIDTH and not self._noted(given):
            return self._with_block([f"{head}{', ' if given else ''}{short[1:]}"], tree, HEADED)
        lines = [f"{head},"]
        for index, (key, entry) in enumerate(given.items()):
            note = self._notes.take(entry.key_at)
            printed = self._entry(f"{' ' * 3 * STEP}{_key(key)}=", entry.value, 3 * STEP)
            lines += framed(note, 3 * STEP, printed, first=index == 0)
        return self._with_block([*lines, f"{' ' * 2 * STEP})"], tree, HEADED)

    def _edge(self, tree: Fields) -> list[str]:
        source, target = (_end(_string(tree, key)) for key in ("from", "to"))
        return self._with_block([f"{' ' * 2 * STEP}{source} -> {target}"], tree, _ENDS)

    def _with_block(self, lines: list[str], tree: Fields, taken: tuple[str, ...]) -> list[str]:
        """The statement with what else its mapping says in braces behind it."""
        rest = {key: entry for key, entry in tree.entries.items() if key not in taken}
        if not rest:
            return lines
        short = self._flat_map(rest)
        if short is not None and len(lines[-1]) + len(short) < WIDTH and not self._noted(rest):
            return [*lines[:-1], f"{lines[-1]} {short}"]
        return [*lines[:-1], f"{lines[-1]} {{", *self._entries(rest, 3 * STEP), f"{' ' * 2 * STEP}}}"]

    def _noted(self, entries: Mapping[str, Entry]) -> bool:
        return any(self._notes.at(entry.key_at) or self._notes.inside(entry.value) for entry in entries.values())

    def _entry(self, head: str, value: Tree, indent: int, *, block: bool = False) -> list[str]:
        if isinstance(value, Scalar):
            return [head + _scalar(value)]
        empty = not (value.entries if isinstance(value, Fields) else value.items)
        if empty or (not block and not self._notes.inside(value)):
            flat = self._flat(value)
            if flat is not None and (empty or len(head) + len(flat) <= WIDTH):
                return [head + flat]
        if isinstance(value, Fields):
            return [head + "{", *self._entries(value.entries, indent + STEP), " " * indent + "}"]
        lines: list[str] = []
        for index, item in enumerate(value.items):
            note = self._notes.take(item.at)
            lines += framed(note, indent + STEP, self._entry(" " * (indent + STEP), item, indent + STEP), first=index == 0)
        return [head + "[", *lines, " " * indent + "]"]

    def _entries(self, entries: Mapping[str, Entry], indent: int) -> list[str]:
        lines: list[str] = []
        for index, (key, entry) in enumerate(entries.items()):
            note = self._notes.take(entry.key_at)
            lines += framed(note, indent, self._entry(f"{' ' * indent}{_key(key)}: ", entry.value, indent), first=index == 0)
        return lines

    def _flat(self, tree: Tree) -> str | None:
        """The value on one line, if it fits on any."""
        if isinstance(tree, Scalar):
            return _scalar(tree)
        if id(tree) not in self._flats:
            if isinstance(tree, Items):
                self._flats[id(tree)] = on_one_line([("", self._flat(item)) for item in tree.items], "[]")
            else:
                self._flats[id(tree)] = self._flat_map(tree.entries)
        return self._flats[id(tree)]

    def _flat_map(self, entries: Mapping[str, Entry]) -> str | None:
        return on_one_line([(f"{_key(key)}: ", self._flat(entry.value)) for key, entry in entries.items()], "{}")


def _scalar(tree: Scalar) -> str:
    return _text(tree.value) if isinstance(tree.value, str) else unquoted(tree.value)


def _string(tree: Fields, key: str) -> str:
    value = tree.entries[key].value
    return str(value.value) if isinstance(value, Scalar) else ""


def _text(text: str) -> str:
    """Text as a word, a template or a comparison where it reads back as the same text, else in quotes."""
    if _TEMPLATE.fullmatch(text) or (_WORD.fullmatch(text) and reads_as_text(text)):
        return text
    return _comparison(text) or quoted(text)


def _end(text: str) -> str:
    """An end of an edge: a port, perhaps with a guard."""
    return text if _WORD.fullmatch(text) else _comparison(text) or quoted(text)


def _comparison(text: str) -> str:
    if _EXISTS.fullmatch(text):
        return text
    if (match := _GUARDED.fullmatch(text)) is None:
        return ""
    return match[1] + (match[2] or quoted(match[3]))


def _key(key: str) -> str:
    return key if _WORD.fullmatch(key) else quoted(key)
