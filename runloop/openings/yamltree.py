"""YAML text to a tree of values that know their place.

Built from the parser's events without recursion, so that depth, size and aliases are bounded before anything is expanded; the library's
own composer recurses on the C stack. Places come from character offsets: a line ends at LF, CRLF or CR, as editors count.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from runloop.dataclass import dataclass
from runloop.openings.errors import Place
from runloop.openings.lines import Lines, first_not_text
from runloop.openings.scalars import SCALAR_TAGS, Json, UnsupportedScalarError, plain, tagged

if TYPE_CHECKING:
    from runloop.openings.errors import OpeningError, Report

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
"""Levels of nesting, aliases expanded: values must fit into frames (64 levels) with room for what wraps them."""
MAX_VALUES = 100_000
"""Values in a document, aliases expanded."""
MAX_CHARACTERS = 4 * MAX_BYTES
"""Characters of text in a document, aliases expanded."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG_PREFIX = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")
_ODD_SPACE = re.compile("(?m)(?:^|[-:,\\[{]) *[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff]")
"""What a copied text has for a space where a key or a value begins."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A typed leaf; ``fault`` says why a number has no JSON value."""

    value: Json
    at: Place
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    items: tuple[Tree, ...]
    at: Place


class Entry(NamedTuple):
    """One key of a mapping: where the key stands, and its value."""

    key_at: Place
    value: Tree


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping; ``odd_keys`` are the places of keys that are not strings."""

    entries: dict[str, Entry]
    at: Place
    odd_keys: tuple[Place, ...] = ()


Tree: TypeAlias = Scalar | Items | Fields


def compose(text: str, report: Report) -> Tree:
    """The one document in ``text``; what ends the reading is raised as OpeningError, lesser problems go to the report."""
    text = text.removeprefix("\ufeff")
    composer = _Composer(text, report)
    if bad := first_not_text(text):
        raise report.fatal(
            "yaml",
            f"character U+{ord(bad[0]):04X} is not allowed in YAML",
            composer.place(bad.start()),
            hint="remove it, or escape it in quotes",
        )
    try:
        for event in yaml.parse(text, Loader=LOADER):
            composer.feed(event)
    except yaml.MarkedYAMLError as error:
        raise composer.syntax_error(error) from None
    return composer.root if composer.root is not None else Scalar(None, Place(1, 1))


class Weight(NamedTuple):
    """What a value costs with aliases expanded."""

    values: int
    characters: int
    height: int


@dataclass(slots=True)
class _Level:
    """A collection still being read, with the weight of what it holds so far."""

    is_map: bool
    at: Place
    anchor: str | None
    children: list[Tree] = field(default_factory=list)
    merges: list[Place] = field(default_factory=list)
    values: int = 1
    characters: int = 0
    height: int = 0


class _Composer:
    """Feeds on parser events; one instance per document."""

    def __init__(self, text: str, report: Report) -> None:
        self.root: Tree | None = None
        self._report = report
        self._text = text
        self.place = Lines(text).place
        self._levels: list[_Level] = []
        self._anchors: dict[str, tuple[Tree, Weight]] = {}
        self._documents = 0
        self._values = 0
        self._characters = 0

    def feed(self, event: Any) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, self.place(event.start_mark.index))

    def syntax_error(self, error: yaml.MarkedYAMLError) -> OpeningError:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        at = self.place(mark.index) if mark else Place(1, 1)
        problem = str(error.problem or error)
        index = mark.index if mark else 0
        hint = self._odd_space(index) or _hint(problem, self._text[index : index + 1] if mark else "")
        return self._report.fatal("yaml", f"{problem}{context}", at, hint=hint)

    def _odd_space(self, index: int) -> str:
        """Where a space that YAML takes for a letter stands in place of a plain one, up to the line of ``index``."""
        end = self._text.find("\n", index)
        odd = _ODD_SPACE.search(self._text, 0, len(self._text) if end < 0 else end)
        if odd is None:
            return ""
        at = self.place(odd.end() - 1)
        return f"line {at.line} has another space at column {at.column} than the space bar makes (U+{ord(odd[0][-1]):04X}): type it anew"

    def document(self, _event: Any, at: Place) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._report.fatal(
                "yaml", "a file holds one opening; a second YAML document starts here", at, hint="put it into a file of its own"
            )

    def scalar(self, event: Any, at: Place) -> None:
        weight = Weight(1, len(event.value), 0)
        self._count(weight, at)
        level = self._levels[-1] if self._levels else None
        if level is not None and event.value == "<<" and not event.style and event.tag is None:
            level.merges.append(at)
        self._keep(self._typed(event, at), event.anchor, weight)

    def alias(self, event: Any, at: Place) -> None:
        if any(level.anchor == event.anchor for level in self._levels):
            raise self._report.fatal("yaml", f"alias '*{event.anchor}' stands inside the value that it names", at)
        if event.anchor not in self._anchors:
            raise self._report.fatal(
                "yaml", f"alias '*{event.anchor}' names no anchor", at, hint=f"define it before with '&{event.anchor}'"
            )
        tree, weight = self._anchors[event.anchor]
        self._count(weight, at)
        if len(self._levels) + weight.height > MAX_DEPTH:
            raise self._too_deep(at)
        self._keep(tree, None, weight)

    def start(self, event: Any, at: Place) -> None:
        self._count(Weight(1, 0, 1), at)
        if len(self._levels) >= MAX_DEPTH:
            raise self._too_deep(at)
        is_map = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, "!", _TAG_PREFIX + ("map" if is_map else "seq")):
            self._foreign_tag(event.tag, at)
        self._levels.append(_Level(is_map, at, event.anchor))

    def end(self, _event: Any, _at: Place) -> None:
        level = self._levels.pop()
        tree = self._mapping(level) if level.is_map else Items(tuple(level.children), level.at)
        self._keep(tree, level.anchor, Weight(level.values, level.characters, level.height + 1))

    def _keep(self, tree: Tree, anchor: str | None, weight: Weight) -> None:
        if anchor is not None:
            self._anchors[anchor] = (tree, weight)
        if not self._levels:
            self.root = tree
            return
        parent = self._levels[-1]
        parent.children.append(tree)
        parent.values += weight.values
        parent.characters += weight.characters
        parent.height = max(parent.height, weight.height)

    def _typed(self, event: Any, at: Place) -> Scalar:
        try:
            if event.tag is None:
                value = event.value if event.style else plain(event.value)
            elif event.tag == "!":
                value = event.value
            elif (name := event.tag.removeprefix(_TAG_PREFIX)) in SCALAR_TAGS and name != event.tag:
                value = tagged(name, event.value)
            else:
                self._foreign_tag(event.tag, at)
                value = event.value
        except UnsupportedScalarError as error:
            return Scalar(None, at, str(error))
        if isinstance(value, str) and _SURROGATE.search(value):
            return Scalar(None, at, "text holds half of a surrogate pair")
        return Scalar(value, at)

    def _mapping(self, level: _Level) -> Tree:
        if (template := _bare_template(level)) is not None:
            self._report.add("template", "a template stands in quotes", level.at, hint=f'write "{template}"')
            return Scalar(template, level.at)
        entries: dict[str, Entry] = {}
        odd: list[Place] = []
        for key, value in zip(level.children[::2], level.children[1::2], strict=True):
            if key.at in level.merges:
                self._report.add(
                    "yaml",
                    "merge keys ('<<') are not part of the language",
                    key.at,
                    hint="write the fields out, or use an alias for a whole value",
                )
            elif not isinstance(key, Scalar) or not isinstance(key.value, str):
                odd.append(key.at)
            elif key.value in entries:
                first = entries[key.value].key_at
                again = ", or begin another entry with '- '" if self._in_list() and key.value == next(iter(entries)) else ""
                self._report.add(
                    "duplicate_key",
                    f"duplicate key '{key.value}'",
                    key.at,
                    key=key.value,
                    hint=f"it is already set on line {first.line}; keep one{again}",
                )
            else:
                entries[key.value] = Entry(key.at, value)
        return Fields(entries, level.at, tuple(odd))

    def _in_list(self) -> bool:
        return bool(self._levels) and not self._levels[-1].is_map

    def _count(self, weight: Weight, at: Place) -> None:
        self._values += weight.values
        self._characters += weight.characters
        if self._values > MAX_VALUES or self._characters > MAX_CHARACTERS:
            limit = f"{MAX_VALUES} values" if self._values > MAX_VALUES else f"{MAX_CHARACTERS} characters"
            raise self._report.fatal(
                "limit", f"an opening holds at most {limit}, aliases expanded", at, hint="split it, or use fewer aliases"
            )

    def _too_deep(self, at: Place) -> OpeningError:
        return self._report.fatal("limit", f"values are nested more than {MAX_DEPTH} levels deep", at, hint="flatten the value")

    def _foreign_tag(self, tag: str, at: Place) -> None:
        shown = tag.replace(_TAG_PREFIX, "!!")
        self._report.add("yaml", f"tag '{shown}' is not allowed; values are JSON values", at, hint="remove the tag")


def _hint(problem: str, at: str) -> str:
    """What to change about a syntax error: by the parser's words, which name no character, and by what stands there."""
    if "tab" in problem or at == "\t":
        return "indent with spaces, not tabs"
    if "cannot start any token" in problem:
        return f"text that begins with '{at}' stands in quotes"
    if "',' or '}'" in problem and at == ":":
        return "text that holds ': ' stands in quotes; else a bracket is not closed, there or on the line before"
    if "mapping values are not allowed" in problem:
        return "text that holds ': ' stands in quotes; else look at the indentation, there and on the line before"
    return "look there and on the line before: a bracket or quote not closed, or another indentation"


def _bare_template(level: _Level) -> str | None:
    """The template that was written without quotes, which YAML reads as a mapping in a mapping; None for any other mapping."""
    match level.children:
        case [Fields(entries=entries, odd_keys=()), Scalar(value=None)] if len(entries) == 1:
            name = next(iter(entries))
            return f"{{{{{name}}}}}" if name.startswith("params.") else None
    return None


_HANDLERS = {
    yaml.DocumentStartEvent: _Composer.document,
    yaml.ScalarEvent: _Composer.scalar,
    yaml.AliasEvent: _Composer.alias,
    yaml.SequenceStartEvent: _Composer.start,
    yaml.MappingStartEvent: _Composer.start,
    yaml.SequenceEndEvent: _Composer.end,
    yaml.MappingEndEvent: _Composer.end,
}
