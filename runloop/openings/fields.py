"""Reading one mapping of the document: known keys, typed values, and a problem at the value's own place for everything else."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from runloop.openings.durations import parse_duration
from runloop.openings.yamltree import Fields, Items, Scalar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from runloop.openings.errors import Place, Report
    from runloop.openings.scalars import Json
    from runloop.openings.yamltree import Tree

SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""


class Section:
    """One mapping of the document, with the path that its problems name."""

    def __init__(self, tree: Fields, report: Report, known: Iterable[str], path: str = "", node: str | None = None) -> None:
        self.at = tree.at
        self._entries = tree.entries
        self._report = report
        self._path = path
        self.node = node
        inside = f" in {path}" if path else ""
        for place in tree.odd_keys:
            report.add("type", f"keys{inside} must be strings", place, node=node, hint="quote the key")
        names = frozenset(known)
        for key, entry in tree.entries.items():
            if key not in names:
                from runloop.openings.elsewhere import meant_here  # only who mistypes needs it

                name, colon, value = key.partition(":")
                joined = colon and name in names
                hint = f"write '{name}: {value}', with a space behind the colon" if joined else meant_here(key, names)
                near = None if hint else (key, names)
                report.add("unknown_key", f"unknown key '{key}'{inside}", entry.key_at, node=node, key=key, hint=hint, near=near)

    def get(self, key: str) -> Tree | None:
        """The value of ``key``, if it is there."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def key_at(self, key: str) -> Place:
        """Where a key stands, or where the mapping starts."""
        entry = self._entries.get(key)
        return entry.key_at if entry else self.at

    def problem(
        self, code: str, message: str, at: Place, *, key: str | None = None, hint: str = "", near: tuple[str, Collection[str]] | None = None
    ) -> None:
        """Note a problem of this mapping."""
        self._report.add(code, message, at, node=self.node, key=key, hint=hint, near=near)

    def required(self, key: str, hint: str = "") -> Tree | None:
        """The value of ``key``, or a problem."""
        value = self.get(key)
        if value is None:
            self.problem("missing", f"missing required field '{key}'", self.at, key=key, hint=hint)
        return value

    def text(self, key: str, hint: str = "") -> str | None:
        """A required, non-empty string."""
        tree = self.required(key, hint)
        if tree is None:
            return None
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            if tree.value.strip():
                return tree.value
            self.problem("type", f"field '{key}' must not be empty", tree.at, key=key)
            return None
        self.problem("type", f"field '{key}' must be a string", tree.at, key=key, hint=_text_hint(tree) or hint)
        return None

    def whole(self, key: str, *, label: str | None = None, least: int = 0, most: int = SAFE_INTEGER, zero_hint: str = "") -> int | None:
        """An optional integer from ``least`` to ``most``."""
        tree = self.get(key)
        if tree is None:
            return None
        label = label or self.label(key)
        value = tree.value if isinstance(tree, Scalar) else None
        if type(value) is not int or value < 0:
            self.problem("type", f"{label} must be a non-negative integer", tree.at, key=key, hint=_number_hint(key, tree))
            return None
        if not least <= value <= most:
            limit = f"at least {least}" if value < least else f"at most {most}"
            self.problem("range", f"{label} must be {limit}", tree.at, key=key, hint=zero_hint if value < least else "")
            return None
        return value

    def number(self, key: str, default: float, *, label: str | None = None) -> tuple[float, Place]:
        """An optional number, and where it stands."""
        tree = self.get(key)
        if tree is None:
            return default, self.at
        value = tree.value if isinstance(tree, Scalar) else None
        if type(value) not in (int, float) or value is None:
            message = f"{label or self.label(key)} must be a floating point number"
            self.problem("type", message, tree.at, key=key, hint=_number_hint(key, tree))
            return default, tree.at
        return float(value), tree.at

    def usd_micros(self, key: str, *, label: str | None = None) -> int | None:
        """An optional amount of dollars, 0 or more, as millionths."""
        if self.get(key) is None:
            return None
        amount, at = self.number(key, 0.0, label=label)
        if not 0 <= amount <= 1_000_000:
            self.problem("range", f"{label or self.label(key)} must be between 0 and 1000000", at, key=key)
            return None
        return round(amount * 1_000_000)

    def flag(self, key: str, *, default: bool) -> bool:
        """An optional boolean."""
        tree = self.get(key)
        if tree is None:
            return default
        if isinstance(tree, Scalar) and isinstance(tree.value, bool):
            return tree.value
        self.problem("type", f"{self.label(key)} must be a boolean", tree.at, key=key, hint="write true or false without quotes")
        return default

    def choice(self, key: str, choices: Sequence[str], *, label: str | None = None) -> str:
        """One of ``choices``; the first if the key is not there."""
        tree = self.get(key)
        if tree is None:
            return choices[0]
        value = tree.value if isinstance(tree, Scalar) else None
        if value in choices:
            return str(value)
        *others, last = choices
        message = f"{label or self.label(key)} must be {', '.join(others)} or {last}"
        self.problem("type", message, tree.at, key=key, near=(str(value or ""), choices))
        return choices[0]

    def mapping(self, key: str, message: str, hint: str = "") -> Fields | None:
        """An optional mapping; ``message`` is the problem if it is something else, ``hint`` what to write where that holds something."""
        tree = self.get(key)
        if tree is None or isinstance(tree, Fields):
            return tree
        empty = isinstance(tree, Scalar) and tree.value is None
        self.problem("type", message, tree.at, key=key, hint="write {} or leave the key out" if empty else hint)
        return None

    def sequence(self, key: str, message: str, hint: str = "write [a, b], or entries after '- '") -> Items | None:
        """An optional sequence; ``message`` is the problem if it is something else."""
        tree = self.get(key)
        if tree is None or isinstance(tree, Items):
            return tree
        empty = isinstance(tree, Scalar) and tree.value is None
        self.problem("type", message, tree.at, key=key, hint="write [] if it is empty" if empty else hint)
        return None

    def texts(self, key: str, message: str, entry_message: str) -> list[tuple[str, Place]]:
        """An optional sequence of strings, each with its place; ``{i}`` in ``entry_message`` is the index."""
        tree = self.sequence(key, message)
        if tree is None:
            return []
        found = []
        for index, item in enumerate(tree.items):
            if isinstance(item, Scalar) and isinstance(item.value, str):
                found.append((item.value, item.at))
            else:
                self.problem("type", entry_message.format(i=index), item.at, key=key, hint=_text_hint(item))
        return found

    def label(self, key: str) -> str:
        """The key with the path of its mapping."""
        return f"{self._path}.{key}" if self._path else key


def _text_hint(tree: Tree) -> str:
    """What to write in place of a value that should be a text."""
    if not isinstance(tree, Scalar):
        return ""
    return "write a text behind it" if tree.value is None and not tree.fault else "put it in quotes"


def _number_hint(key: str, tree: Tree) -> str:
    """What to write in place of a number that is too large for JSON, has a fraction or an exponent, is in quotes, a template, or a time."""
    if isinstance(tree, Scalar) and tree.fault:
        return f"write a number of at most {SAFE_INTEGER}"
    value = tree.value if isinstance(tree, Scalar) else None
    if isinstance(value, float) and value.is_integer():
        return f"write it without a fraction: {int(value)}"
    text = value.strip() if isinstance(value, str) else ""
    if text.isdecimal():
        return f"write it without quotes: {text}"
    if "{{" in text:
        return "templates stand in 'with' and in clauses: write the number"
    if key.endswith("_ms"):
        with suppress(ValueError):
            return f"write it in milliseconds: {parse_duration(text)}"
    return ""


def to_json(tree: Tree, report: Report, key: str, *, node: str | None = None, keys: str = "mapping keys must be strings") -> Json:
    """The JSON value of a subtree; numbers without one and keys that are no strings become problems."""
    if isinstance(tree, Scalar):
        if tree.fault:
            report.add("type", f"unsupported value type for key '{key}': {tree.fault}", tree.at, node=node, key=key)
        return tree.value
    if isinstance(tree, Items):
        return [to_json(item, report, key, node=node) for item in tree.items]
    for place in tree.odd_keys:
        report.add("type", keys, place, node=node, key=key, hint="quote the key")
    return {name: to_json(entry.value, report, name, node=node) for name, entry in tree.entries.items()}


def tree_at(tree: Tree, path: Iterable[str | int]) -> Tree:
    """The value at a JSON path; the nearest one above it if the path leads out of the tree."""
    for step in path:
        if isinstance(tree, Fields) and isinstance(step, str) and step in tree.entries:
            tree = tree.entries[step].value
        elif isinstance(tree, Items) and isinstance(step, int) and step < len(tree.items):
            tree = tree.items[step]
        else:
            break
    return tree


def place_at(tree: Tree, path: Iterable[str | int]) -> Place:
    """Where the value at a JSON path stands; the nearest value above it if the path leads out of the tree."""
    return tree_at(tree, path).at
