"""What to do about each error code: the hint that stands where the error is made, or what remedies.toml says of the code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from docgen import errors

REMEDIES = Path(__file__).with_name("remedies.toml")
Texts = dict[str, str]
_SAYS_SOMETHING = re.compile(r"[A-Za-z`][^…]*[ /][^…]*[A-Za-z`)]")
"""A hint that is more than what is filled in."""


def remedies() -> Mapping[str, Texts]:
    """What people wrote: ``says`` and ``do``, each by code."""
    return tomllib.loads(REMEDIES.read_text(encoding="utf-8"))


def found(trees: Mapping[str, ast.Module]) -> Texts:
    """The hint of each code, as the source has it; no entry where it is made of values only."""
    classes = {name: code for tree in trees.values() for name, code in _codes_of_classes(tree)}
    hints: Texts = {}
    for tree in trees.values():
        known, helpers, local = _constants(tree), dict(_helpers(tree)), errors.texts_before(tree)
        named = errors.codes_before(tree)
        for call in (node for node in errors.nodes_of(tree) if isinstance(node, ast.Call)):
            names = known | local.get(call, {})
            codes = [code for code, _, _ in errors.in_call(call, names, named.get(call))] or [classes.get(errors.name_of(call.func), "")]
            hint = _hint(call, names) or helpers.get(errors.name_of(call.func), "")
            for code in codes:
                if code and _SAYS_SOMETHING.search(hint):
                    hints.setdefault(code, hint)
    return hints


def _hint(call: ast.Call, names: Texts) -> str:
    """The argument ``hint``, or the text after the message; of a Denial its last."""
    if errors.name_of(call.func) == "Denial":
        return errors.text_of(call.args[-1]) if call.args else ""
    given = next((_told(word.value, names) for word in call.keywords if word.arg == "hint"), "")
    sentences = [text for each in call.args if " " in (text := errors.text_of(each))]
    return given or "".join(sentences[1:2])


def _told(node: ast.expr, names: Texts) -> str:
    """A text, by name or by either branch of a choice."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    choices = [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values if isinstance(node, ast.BoolOp) else []
    return next((text for each in choices if (text := _told(each, names))), "") or errors.text_of(node)


def _helpers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions that make errors with a hint of their own."""
    for function in (node for node in errors.nodes_of(tree) if isinstance(node, ast.FunctionDef)):
        texts = (errors.text_of(node.value) for node in ast.walk(function) if isinstance(node, ast.keyword) and node.arg == "hint")
        hint = next((text for text in texts if text), "")
        if hint:
            yield function.name, hint


def _constants(tree: ast.Module) -> Texts:
    """Texts that have names in the module."""
    pairs = ((node.target if isinstance(node, ast.AnnAssign) else node.targets[0], node.value) for node in tree.body
             if isinstance(node, (ast.Assign, ast.AnnAssign)))  # fmt: skip
    return {name.id: text for name, value in pairs if isinstance(name, ast.Name) and (text := errors.text_of(value))}


def _codes_of_classes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in errors.nodes_of(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, code) for code in errors.codes_of_class(node))
