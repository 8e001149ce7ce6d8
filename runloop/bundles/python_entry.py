"""What can be said about a Python agent without running it: it compiles, and it has one function to run."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING

from runloop.bundles.bundle import is_source
from runloop.bundles.errors import BundleInvalid
from runloop.errors import RunloopError, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Compiles = Callable[[str, bytes], bool]
    """Whether the guest's Python, which may be newer than this one, compiles a source (path, content)."""

MODULE = "runloop_agent"
#: Exists on every node and only orders, so no function has to take it.
_ORDER_PORT = "in"

#: What a source that no parser takes is answered with; MemoryError is its word for a nesting that is too deep.
BEYOND_PARSING = (ValueError, RecursionError, MemoryError)
_SOON_READ = 64 * 1024

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_problems(
    files: Mapping[str, bytes], entry: str, ports_in: Iterable[str], root: Path, compiles: Compiles | None = None
) -> list[RunloopError]:
    """List what keeps the sources from running: syntax, the entry's ``@agent`` function, ports that it does not take.

    A source that this Python cannot read but ``compiles`` accepts is no problem; what its entry lacks is then told by the run.
    """
    problems: list[RunloopError] = []
    for path in filter(is_source, sorted(files)):
        where = Where(file=f"{root}/{path}")
        try:
            tree = ast.parse(files[path], filename=path)
        except SyntaxError as error:
            if compiles is not None and compiles(path, files[path]):
                continue
            where = Where(file=f"{root}/{path}", line=error.lineno, column=error.offset)
            problems.append(
                BundleInvalid(f"not valid Python: {error.msg}", code="bundle.python_syntax", where=where, hint="correct the line named")
            )
        except BEYOND_PARSING as error:
            why = str(error) or "nested too deeply"
            problems.append(BundleInvalid(f"not valid Python: {why}", code="bundle.python_syntax", where=where, hint="correct the file"))
        else:
            if path == entry:
                problems.extend(_entry_problems(tree, ports_in, where))
    return problems


@lru_cache(maxsize=256)
def needed_arguments(entry: bytes) -> frozenset[str]:
    """The arguments without which the agent's function is not called; none where the source alone does not soon tell for certain."""
    if len(entry) > _SOON_READ:
        return frozenset()
    try:
        tree = ast.parse(entry)
    except (SyntaxError, *BEYOND_PARSING):
        return frozenset()
    marked = _marked(tree)
    if len(marked) != 1 or len(marked[0].decorator_list) != 1 or _is_bound_again(tree, marked[0].name):
        return frozenset()
    args = marked[0].args
    named = args.args[: len(args.args) - len(args.defaults)]
    only = (each for each, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None)
    return frozenset() if args.posonlyargs else frozenset(each.arg for each in (*named, *only))


def _is_bound_again(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in ast.walk(tree))


def _marked(tree: ast.Module) -> list[_Function]:
    names = _names_of_mark(tree)
    functions = [node for node in tree.body if isinstance(node, _Function)]
    return [node for node in functions if any(_mark(decorator) in names for decorator in node.decorator_list)]


def _entry_problems(tree: ast.Module, ports_in: Iterable[str], where: Where) -> list[RunloopError]:
    marked = _marked(tree)
    example = "write `from runloop_agent import agent`, then `@agent` above `def run(...) -> dict:`"
    if not marked:
        return [BundleInvalid("the entry defines no @agent function", code="bundle.no_agent", where=where, hint=example)]
    problems: list[RunloopError] = []
    for extra in marked[1:]:
        place = Where(file=where.file, line=extra.lineno)
        message = f"{extra.name!r} is a second @agent function (the first is {marked[0].name!r})"
        problems.append(BundleInvalid(message, code="bundle.many_agents", where=place, hint="keep one mark; a bundle is one agent"))
    run = marked[0]
    place = Where(file=where.file, line=run.lineno)
    if len(run.decorator_list) == 1 and _yields(run):  # a decorator may make an ordinary function of it
        message = f"{run.name!r} is a generator, and what it would yield goes nowhere"
        hint = "return a list, or say what comes on the way with runloop_agent.emit"
        problems.append(BundleInvalid(message, code="bundle.generator_agent", where=place, hint=hint))
    if run.args.posonlyargs and len(run.decorator_list) == 1:
        message = f"{run.name!r} has positional-only parameters, and parameters are filled by name"
        problems.append(BundleInvalid(message, code="bundle.positional_agent", where=place, hint="remove the `/`"))
    taken = {argument.arg for argument in (*run.args.args, *run.args.kwonlyargs)}
    for port in ports_in:
        if port not in taken and port != _ORDER_PORT and run.args.kwarg is None:
            message = f"{run.name!r} does not take the port {port!r}, so its values would be dropped"
            hint = f"add a parameter {port!r}, or remove the port from [ports.in] of manifest.toml"
            problems.append(BundleInvalid(message, code="bundle.port_not_taken", where=place, hint=hint))
    return problems


def _yields(function: ast.AST) -> bool:
    inner = [node for node in ast.iter_child_nodes(function) if not isinstance(node, _Function | ast.Lambda | ast.ClassDef)]
    return any(isinstance(node, ast.Yield | ast.YieldFrom) or _yields(node) for node in inner)


def _names_of_mark(tree: ast.Module) -> set[str]:
    """Collect the spellings under which the module can write the mark, whatever name it imported it by."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == MODULE and node.level == 0:
            marks = [alias for alias in node.names if alias.name in {"agent", "*"}]
            names.update("agent" if alias.name == "*" else alias.asname or alias.name for alias in marks)
        elif isinstance(node, ast.Import):
            names.update(f"{alias.asname or alias.name}.agent" for alias in node.names if alias.name == MODULE)
    return names


def _mark(decorator: ast.expr) -> str:
    return spelling(decorator.func if isinstance(decorator, ast.Call) else decorator)


def spelling(expression: ast.expr) -> str:
    """Its name with dots, nothing where it is another expression."""
    at, parts = expression, list[str]()
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    return ".".join([at.id, *parts[::-1]]) if isinstance(at, ast.Name) else ""
