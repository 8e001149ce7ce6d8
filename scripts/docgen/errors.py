"""The list of error codes, read out of the source: whatever code the source can raise is in the list, and nothing else.

A code is a dotted lower-case literal that stands where errors are made: the ``code`` of a class, an argument ``code=``, or beside
a message in a call or a table that makes errors.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docgen.text import table as markdown_table

ROOT = Path(__file__).resolve().parents[2] / "runloop"
CODE = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")
MAKES_NO_ERROR = frozenset({"Key", "Effect", "Verb", "Kind", "EventKind", "import_module", "getLogger", "Content", "ContentType"})
EXITS = {"RunloopError": 1, "InvalidInput": 2, "Unavailable": 3, "Denied": 4, "VerificationFailed": 5}


@dataclass(frozen=True, slots=True)
class Found:
    """One place that makes an error with a code."""

    code: str
    message: str
    maker: str
    module: str


def _text(node: ast.expr | None) -> str:
    """A literal or f-string as text, with … for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or "…") + (_text(node.right) or "…")
    return ""


def _is_code(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(CODE.fullmatch(node.value))


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _message(nodes: list[ast.expr], local: dict[str, str]) -> str:
    texts = (local.get(node.id, "") if isinstance(node, ast.Name) else _text(node) for node in nodes)
    return next((text for text in texts if " " in text), "")


def _locals(tree: ast.Module) -> dict[ast.Call, dict[str, str]]:
    """For each call, the texts that its function assigned to names before it."""
    found: dict[ast.Call, dict[str, str]] = {}
    for function in ast.walk(tree):
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
            elif isinstance(node.targets[0], ast.Name) and (text := _text(node.value)):
                known[node.targets[0].id] = text
    return found


def _in_call(node: ast.Call, local: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    maker = _name(node.func)
    if maker in MAKES_NO_ERROR:
        return
    if maker == "Denial":  # (cap, op, reason, target, hint); its code is made of the first and the third
        if len(node.args) == 5 and _text(node.args[0]) and _text(node.args[2]):
            yield f"denied.{_text(node.args[0])}.{_text(node.args[2])}", _text(node.args[4]), "Denied"
        return
    message = _message([*node.args, *(word.value for word in node.keywords if word.arg == "message")], local)
    for word in node.keywords:
        if word.arg == "code" and _is_code(word.value):
            yield _text(word.value), message, maker
        elif word.arg == "code" and isinstance(word.value, ast.IfExp):
            for branch in (word.value.body, word.value.orelse):
                if _is_code(branch):
                    yield _text(branch), message, maker
    for argument in node.args:
        if _is_code(argument) and message:
            yield _text(argument), message, maker


def _defaults_of_code(arguments: ast.arguments) -> list[ast.expr | None]:
    """The default of a parameter called ``code``."""
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(with_default, arguments.defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [default for argument, default in pairs if argument.arg == "code"]


def _scan(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    local = _locals(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _in_call(node, local.get(node, {}))
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                value = each.value if isinstance(each, (ast.Assign, ast.AnnAssign)) else None
                target = each.targets[0] if isinstance(each, ast.Assign) else each.target if isinstance(each, ast.AnnAssign) else None
                if isinstance(target, ast.Name) and target.id == "code" and value is not None and _is_code(value):
                    yield _text(value), (ast.get_docstring(node) or "").split("\n")[0], node.name
        elif isinstance(node, ast.Tuple) and any(" " in _text(each) for each in node.elts):
            for each in node.elts:
                if _is_code(each):
                    yield _text(each), "", ""
        elif isinstance(node, ast.FunctionDef):
            yield from ((_text(default), "", node.name) for default in _defaults_of_code(node.args) if _is_code(default))


def _makers(trees: dict[str, ast.Module]) -> dict[str, str]:
    """What each class derives from and each function returns, by name."""
    found: dict[str, str] = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.bases:
                found.setdefault(node.name, _name(node.bases[0]))
            elif isinstance(node, ast.FunctionDef) and node.returns is not None:
                found.setdefault(node.name, _name(node.returns))
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


def table() -> str:
    """Every code with its exit code, what it says and where it comes from, one table an area."""
    trees = {path.relative_to(ROOT.parent).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    makers = _makers(trees)
    codes: dict[str, list[Found]] = {}
    others = _names_of_other_things()
    for module, tree in trees.items():
        for code, message, maker in _scan(tree):
            if _exit(maker, makers) or code not in others:
                codes.setdefault(code, []).append(Found(code, message, maker, module))
    areas: dict[str, list[tuple[str, str, str, str]]] = {}
    for code, places in sorted(codes.items()):
        message = next((each.message for each in places if each.message), "")
        leaves = sorted({exit_code for each in places if (exit_code := _exit(each.maker, makers))}, key=int)
        modules = ", ".join(dict.fromkeys(f"`{each.module}`" for each in places))
        shown = message if len(message) <= 160 else message[:159] + "…"
        areas.setdefault(code.split(".")[0], []).append((f"`{code}`", ", ".join(leaves) or "–", shown, modules))
    header = ("code", "exit", "says", "from")
    return "\n\n".join(f"## {area}\n\n" + markdown_table(header, rows) for area, rows in areas.items())
