"""The canonical text of an opening, in YAML or the brace form, with its comments. What is printed is read again and must say the same."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, cast

from runloop.openings.brace_tokens import is_brace
from runloop.openings.errors import START, OpeningError, Report
from runloop.openings.fields import to_json
from runloop.openings.fmt_brace import to_brace
from runloop.openings.fmt_notes import Notes, comments_of
from runloop.openings.fmt_yaml import to_yaml
from runloop.openings.parse import compose_either, decode, examine
from runloop.openings.yamltree import Entry, Fields, Items, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings.scalars import Json
    from runloop.openings.yamltree import Tree

_REFERENCE = re.compile(r"\s*([\w-]+)\s*\.\s*([\w-]+)\s*(?:(>=|<=|==|!=|>|<)|\Z)")


class Form(StrEnum):
    """How an opening is written."""

    YAML = "yaml"
    BRACE = "brace"


class Formatted(NamedTuple):
    """The canonical text, and the form that the source had."""

    text: str
    source: str
    was: Form


def format_opening(data: str | bytes, *, to: Form | None = None, file: str | None = None) -> Formatted:
    """The canonical text of a sound opening in the form ``to``, by default its own; raises OpeningError with every problem.

    Anchors are written out, and numbers as JSON has them; nothing else of what the document says changes.
    """
    examined = examine(data, file=file)
    if examined.problems:
        raise OpeningError(examined.problems)
    report = Report(file)
    source = decode(data, report)
    text = source.removeprefix("\ufeff")
    tree = cast("Fields", _tidied(compose_either(source, report)))  # it was examined: it is a mapping
    was = Form.BRACE if is_brace(source) else Form.YAML
    form = to or was
    printed = (to_brace if form is Form.BRACE else to_yaml)(tree, Notes(tree, text, comments_of(text, report)))
    if _said(printed) != to_json(tree, report, ""):
        message = f"this opening cannot be written in the {form} form"
        raise report.fatal("form", message, START, hint="a key is too long, or the text would be larger than an opening may be")
    return Formatted(printed, source, was)


def _said(text: str) -> Json:
    """What a printed document says; None if it cannot be read."""
    report = Report()
    try:
        tree = _tidied(compose_either(decode(text, report), report))
    except OpeningError:
        return None
    return None if report.problems else to_json(tree, report, "")


def _tidied(tree: Tree) -> Tree:
    """A document with one spelling of references and expressions, and without empty arguments."""
    for path, change in _TIDYINGS:
        tree = _changed(tree, path, change)
    return tree


def _changed(tree: Tree, path: tuple[str, ...], change: Callable[[Tree], Tree]) -> Tree:
    """``tree`` with ``change`` made at ``path``, where ``*`` is every entry of a list."""
    if not path:
        return change(tree)
    key, *rest = path
    if key == "*":
        return replace(tree, items=tuple(_changed(item, tuple(rest), change) for item in tree.items)) if isinstance(tree, Items) else tree
    if not isinstance(tree, Fields) or key not in tree.entries:
        return tree
    entry = tree.entries[key]
    return replace(tree, entries={**tree.entries, key: Entry(entry.key_at, _changed(entry.value, tuple(rest), change))})


def _without_empty_arguments(node: Tree) -> Tree:
    arguments = node.entries.get("with") if isinstance(node, Fields) else None
    if not isinstance(node, Fields) or arguments is None or not isinstance(arguments.value, Fields) or arguments.value.entries:
        return node
    return replace(node, entries={key: entry for key, entry in node.entries.items() if key != "with"})


def _tidy(tree: Tree) -> Tree:
    return replace(tree, value=_spelt(tree.value)) if isinstance(tree, Scalar) and isinstance(tree.value, str) else tree


def _spelt(text: str) -> str:
    """A reference or an expression with one space where it may have any; other text as it is."""
    text = text.strip()
    if text.startswith("exists(") and text.endswith(")"):
        return f"exists({_spelt(text[len('exists(') : -1])})"
    if (match := _REFERENCE.match(text)) is None:
        return text
    reference = f"{match[1]}.{match[2]}"
    return f"{reference} {match[3]} {text[match.end() :].strip()}" if match[3] else reference


_TIDYINGS: tuple[tuple[tuple[str, ...], Callable[[Tree], Tree]], ...] = (
    (("nodes", "*"), _without_empty_arguments),
    (("nodes", "*", "use"), _tidy),
    (("edges", "*", "from"), _tidy),
    (("edges", "*", "to"), _tidy),
    (("success", "any_of", "*"), _tidy),
    (("success", "all_of", "*"), _tidy),
    (("artifacts", "save", "*"), _tidy),
)
