"""The list of error codes, read out of the source: whatever code the source can raise is in the list, and nothing else.

A code is a dotted lower-case literal that stands where errors are made: the ``code`` of a class, an argument ``code=``, or beside
a message in a call or a table that makes errors.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "runloop"
CODE = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")
MAKES_NO_ERROR = frozenset({"Key", "Effect", "Verb", "Kind", "EventKind", "import_module", "getLogger", "Content", "ContentType"})
EXITS = {"RunloopError": 1, "InvalidInput": 2, "Unavailable": 3, "Denied": 4, "VerificationFailed": 5}


@dataclass(frozen=True, slots=True)
class Found:
    """One place that makes an error with a code."""

    code: str
    message: str
    exit_code: str
    module: str


@cache
def nodes_of(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Everything in a module, walked once."""
    return tuple(ast.walk(tree))


def text_of(node: ast.expr | None) -> str:
    """A literal or f-string as text, with … for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left) or "…") + (text_of(node.right) or "…")
    return ""


def _is_code(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(CODE.fullmatch(node.value))


def name_of(node: ast.expr) -> str:
    """The last part of a name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _message(nodes: list[ast.expr], local: dict[str, str]) -> str:
    texts = (local.get(node.id, "") if isinstance(node, ast.Name) else text_of(node) for node in nodes)
    return next((text for text in texts if " " in text), "")


@cache
def texts_before(tree: ast.Module) -> dict[ast.Call, dict[str, str]]:
    """For each call, the texts that its function assigned to names before it."""
    found: dict[ast.Call, dict[str, str]] = {}
    for function in nodes_of(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        known: dict[str, str] = {}
        nodes = sorted(
            (node for node in ast.walk(function) if isinstance(node, (ast.Assign, ast.Call))),
            key=lambda node: (node.lineno, node.col_offset),
        )
        for node in nodes:
            if isinstance(node, ast.Call):
                found[node] = dict(known)
            elif isinstance(node.targets[0], ast.Name) and (text := text_of(node.value)):
                known[node.targets[0].id] = text
    return found


def in_call(node: ast.Call, local: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """The codes that a call names, each with its message and its maker."""
    maker = name_of(node.func)
    if maker in MAKES_NO_ERROR:
        return
    if maker == "Denial":  # (cap, op, reason, target, hint); its code is made of the first and the third
        if len(node.args) == 5 and text_of(node.args[0]) and text_of(node.args[2]):
            yield f"denied.{text_of(node.args[0])}.{text_of(node.args[2])}", "", "Denied"
        return
    message = _message([*node.args, *(word.value for word in node.keywords if word.arg == "message")], local)
    for word in node.keywords:
        if word.arg == "code" and _is_code(word.value):
            yield text_of(word.value), message, maker
        elif word.arg == "code" and isinstance(word.value, ast.IfExp):
            for branch in (word.value.body, word.value.orelse):
                if _is_code(branch):
                    yield text_of(branch), message, maker
    for argument in node.args:
        if _is_code(argument) and message:
            yield text_of(argument), message, maker


def _defaults_of_code(arguments: ast.arguments) -> list[ast.expr | None]:
    """The default of a parameter called ``code``."""
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(with_default, arguments.defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [default for argument, default in pairs if argument.arg == "code"]


def codes_of_class(node: ast.ClassDef) -> Iterator[str]:
    """The code that stands in a class."""
    for each in node.body:
        value = each.value if isinstance(each, (ast.Assign, ast.AnnAssign)) else None
        target = each.targets[0] if isinstance(each, ast.Assign) else each.target if isinstance(each, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "code" and value is not None and _is_code(value):
            yield text_of(value)


def _scan(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    local = texts_before(tree)
    for node in nodes_of(tree):
        if isinstance(node, ast.Call):
            yield from in_call(node, local.get(node, {}))
        elif isinstance(node, ast.ClassDef):
            yield from ((code, (ast.get_docstring(node) or "").split("\n")[0], node.name) for code in codes_of_class(node))
        elif isinstance(node, ast.Tuple) and any(" " in text_of(each) for each in node.elts):
            for each in node.elts:
                if _is_code(each):
                    yield text_of(each), "", ""
        elif isinstance(node, ast.FunctionDef):
            yield from ((text_of(default), "", node.name) for default in _defaults_of_code(node.args) if _is_code(default))


def _makers(trees: dict[str, ast.Module]) -> dict[str, str]:
    """What each class derives from and each function returns, by name."""
    found: dict[str, str] = {}
    for tree in trees.values():
        for node in nodes_of(tree):
            if isinstance(node, ast.ClassDef) and node.bases:
                found.setdefault(node.name, name_of(node.bases[0]))
            elif isinstance(node, ast.FunctionDef) and node.returns is not None:
                found.setdefault(node.name, name_of(node.returns))
    return found


def _exit(maker: str, makers: dict[str, str]) -> str:
    for _ in range(8):
        if maker in EXITS:
            return str(EXITS[maker])
        maker = makers.get(maker, "")
    return ""


def _names_of_other_things() -> frozenset[str]:
    """Dotted names that are no codes: kinds of events, hostcalls and actions."""
    from runloop.config.table_policy import ACTIONS
    from runloop.effects.catalogue import CATALOGUE
    from runloop.events.kinds import KINDS

    return frozenset({*ACTIONS, *CATALOGUE, *KINDS})


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the source, parsed, by its path."""
    return {path.relative_to(ROOT.parent).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def codes(trees: dict[str, ast.Module]) -> dict[str, list[Found]]:
    """Every code and the places that make errors with it."""
    makers, found, others = _makers(trees), {}, _names_of_other_things()
    for module, tree in trees.items():
        for code, message, maker in _scan(tree):
            if _exit(maker, makers) or code not in others:
                found.setdefault(code, []).append(Found(code, message, _exit(maker, makers), module))
    return found
