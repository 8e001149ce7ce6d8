"""Which hostcalls a Python agent's sources name, as far as that can be seen without running them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from runloop.bundles.bundle import is_source
from runloop.bundles.python_entry import BEYOND_PARSING, MODULE, spelling

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_STANDARD = {"time": {"sleep": "timer.sleep"}, "asyncio": {"sleep": "timer.sleep"}}
"""What the guest's standard library asks the host for."""
_TELLING = (MODULE.encode(), b"sleep")
"""No source without one of these names a hostcall."""


def named_calls(files: Mapping[str, bytes], names: Collection[str]) -> dict[str, tuple[str, int]]:
    """The hostcalls of ``names`` that the sources call by name, each with the file and line where it stands first.

    A call through another name (``getattr``, a list of functions) is not seen.
    """
    found: dict[str, tuple[str, int]] = {}
    for path in filter(is_source, sorted(files)):
        if not any(word in files[path] for word in _TELLING):  # a library can have thousands of files that are not worth reading
            continue
        try:
            tree = ast.parse(files[path])
        except (SyntaxError, *BEYOND_PARSING):
            continue
        meant = dict(_imported(tree, names))
        calls = [(node.lineno, spelling(node.func)) for node in ast.walk(tree) if isinstance(node, ast.Call) and not _of_zero(node)]
        for line, spelled in sorted(calls):
            for known, name in meant.items():
                call = name + spelled[len(known) :] if spelled == known or spelled.startswith(f"{known}.") else ""
                if call in names:
                    found.setdefault(call, (path, line))
    return found


def _of_zero(call: ast.Call) -> bool:
    """Whether it is a sleep that only lets others take their turn."""
    match call:
        case ast.Call(func=ast.Name(id="sleep") | ast.Attribute(attr="sleep"), args=[ast.Constant(value=0)]):
            return True
    return False


def _imported(tree: ast.Module, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """What the module's imports are called in it, and the beginning of a hostcall's name that each is; nothing for the package itself."""
    modules = sorted({name.partition(".")[0] for name in names})
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            listed = [alias.name for alias in node.names]
            if node.module == MODULE:
                shown = {module: module for module in modules} if "*" in listed else {a.asname or a.name: a.name for a in node.names}
                yield from shown.items()
            elif node.module.startswith(f"{MODULE}."):
                yield from ((a.asname or a.name, f"{node.module[len(MODULE) + 1 :]}.{a.name}") for a in node.names)
            else:
                standard = _STANDARD.get(node.module, {})
                yield from ((a.asname or a.name, standard[a.name]) for a in node.names if a.name in standard)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                called = alias.asname or alias.name
                if alias.name == MODULE or (alias.name.startswith(f"{MODULE}.") and alias.asname is None):
                    package = called.partition(".")[0]
                    yield from ((f"{package}.{module}", module) for module in modules)
                elif alias.name.startswith(f"{MODULE}."):
                    yield called, alias.name[len(MODULE) + 1 :]
                yield from ((f"{called}.{function}", call) for function, call in _STANDARD.get(alias.name, {}).items())
