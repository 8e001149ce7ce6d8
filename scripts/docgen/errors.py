"""The list of error codes, read out of the source: whatever code the source can raise is in the list, and nothing else.

A code is a dotted lower-case literal that stands where errors are made: the ``code`` of a class, an argument ``code=``, or beside
a message in a call or a table that makes errors; also where it has a name before, or is one of two. The problems of openings are reported
by the second half of their code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2] / "runloop"
CODE = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")
MAKES_NO_ERROR = frozenset({"Key", "Effect", "Verb", "Kind", "EventKind", "import_module", "getLogger", "Content", "ContentType"})
WARNS = frozenset({"print_warning", "_answered"})
"""What makes an error or a warning of a code and of texts that are made elsewhere."""
PROBLEM = re.compile(r"[a-z]+(_[a-z0-9]+)*")
EXITS = {"RunloopError": 1, "InvalidInput": 2, "Unavailable": 3, "Denied": 4, "VerificationFailed": 5}


Named: TypeAlias = dict[str, tuple[str, ...]]
"""The codes that a name may stand for."""


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


def _codes(node: ast.expr | None, named: Named) -> tuple[str, ...]:
    """The codes that an expression may be: a literal, a name that has some, or either branch of a choice."""
    if isinstance(node, ast.IfExp):
        return (*_codes(node.body, named), *_codes(node.orelse, named))
    if isinstance(node, ast.Name):
        return named.get(node.id, ())
    return (text_of(node),) if _is_code(node) else ()


def name_of(node: ast.expr) -> str:
    """The last part of a name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _message(nodes: list[ast.expr], local: dict[str, str]) -> str:
    texts = (local.get(node.id, "") if isinstance(node, ast.Name) else text_of(node) for node in nodes)
    return next((text for text in texts if " " in text), "")


@cache
def codes_before(tree: ast.Module) -> dict[ast.expr, Named]:
    """For each call and each map, the codes that have names in its module, and in its function before it."""
    constants: Named = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (codes := _codes(node.value, constants)):
            constants[node.targets[0].id] = codes
    found: dict[ast.expr, Named] = {}
    for function in nodes_of(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        known = dict(constants)
        nodes = (node for node in ast.walk(function) if isinstance(node, (ast.Assign, ast.Call, ast.Dict)))
        for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
            if not isinstance(node, ast.Assign):
                found[node] = dict(known)
            elif isinstance(node.targets[0], ast.Name) and node.targets[0].id == "code":
                known["code"] = _codes(node.value, known)
    return found


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


def in_call(node: ast.Call, local: dict[str, str], named: Named | None = None) -> Iterator[tuple[str, str, str]]:
    """The codes that a call names, each with its message and its maker; ``named``: what has a name there."""
    named, maker = named or {}, name_of(node.func)
    if maker == "CallError" and any(name_of(each) == "DENIED" for each in node.args):
        maker = "Denied"  # the run that fails over it ends so
    if maker in MAKES_NO_ERROR:
        return
    if maker == "Denial":  # (cap, op, reason, target, hint); its code is made of the first and the third
        if len(node.args) == 5 and text_of(node.args[0]) and text_of(node.args[2]):
            yield f"denied.{text_of(node.args[0])}.{text_of(node.args[2])}", "", "Denied"
        return
    message = _message([*node.args, *(word.value for word in node.keywords if word.arg == "message")], local)
    yield from ((f"opening.{half}", message, "OpeningError") for half in _problems(node))
    for word in node.keywords:
        if word.arg == "code":
            yield from ((code, message, maker) for code in _codes(word.value, named))
    for argument in node.args:
        if (message or maker in WARNS) if _is_code(argument) else name_of(argument) == "code":
            yield from ((code, message, maker) for code in _codes(argument, named))


def _problems(node: ast.Call) -> list[str]:
    """What `report.add(…)`, `report.fatal(…)` or `section.problem(…)` says of an opening, whoever holds the report."""
    function = node.func
    if not (isinstance(function, ast.Attribute) and node.args):
        return []
    if function.attr != "problem" and not (function.attr in {"add", "fatal"} and name_of(function.value).removeprefix("_") == "report"):
        return []
    first = node.args[0]
    choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
    return [text_of(each) for each in choices if PROBLEM.fullmatch(text_of(each))]


def _in_map(node: ast.Dict, named: Named) -> Iterator[tuple[str, str, str]]:
    """The codes of an error that is written as a map."""
    given = {text_of(key): value for key, value in zip(node.keys, node.values, strict=True) if key is not None}
    if "message" in given:
        yield from ((code, text_of(given["message"]), "") for code in _codes(given.get("code"), named))


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
    local, named = texts_before(tree), codes_before(tree)
    for node in nodes_of(tree):
        if isinstance(node, ast.Call):
            yield from in_call(node, local.get(node, {}), named.get(node))
        elif isinstance(node, ast.Dict):
            yield from _in_map(node, named.get(node, {}))
        elif isinstance(node, ast.ClassDef):
            yield from ((code, (ast.get_docstring(node) or "").split("\n")[0], node.name) for code in codes_of_class(node))
        elif isinstance(node, ast.Tuple) and any(" " in text_of(each) for each in node.elts):
            for each in node.elts:
                if _is_code(each):
                    yield text_of(each), "", ""
        elif isinstance(node, ast.FunctionDef):
            yield from ((text_of(default), "", node.name) for default in _defaults_of_code(node.args) if _is_code(default))


def _makers(tree: ast.Module) -> dict[str, str]:
    """What each class of a module derives from and each function returns, by name."""
    found: dict[str, str] = {}
    for node in nodes_of(tree):
        if isinstance(node, ast.ClassDef) and node.bases:
            found.setdefault(node.name, name_of(node.bases[0]))
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            found.setdefault(node.name, name_of(node.returns))
    return found


def _imported(tree: ast.Module, own: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The same of what a module imports by name, under the names that it has there."""
    found: dict[str, str] = {}
    for node in nodes_of(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            there = own.get(f"{node.module.replace('.', '/')}.py", {})
            found.update((each.asname or each.name, there[each.name]) for each in node.names if each.name in there)
    return found


def _shared(makers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The same of public names, wherever they come from: of those that two modules have, only what both agree on."""
    found: dict[str, set[str]] = {}
    for each in makers:
        for name, base in each.items():
            if not name.startswith("_"):
                found.setdefault(name, set()).add(base)
    return {name: next(iter(bases)) for name, bases in found.items() if len(bases) == 1}


def _exit(maker: str, makers: Mapping[str, str]) -> str:
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
    own = {module: _makers(tree) for module, tree in trees.items()}
    shared, found, others = _shared(own.values()), dict[str, list[Found]](), _names_of_other_things()
    for module, tree in trees.items():
        makers = {**shared, **_imported(tree, own), **own[module]}
        for code, message, maker in _scan(tree):
            if _exit(maker, makers) or code not in others:
                found.setdefault(code, []).append(Found(code, message, _exit(maker, makers), module))
    return found
