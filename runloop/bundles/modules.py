"""Which modules a Python agent loads that its guest does not have, as far as that can be seen without running it."""

from __future__ import annotations

import ast
import operator
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from runloop.bundles.bundle import NATIVE, is_source
from runloop.bundles.python_entry import BEYOND_PARSING, MODULE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_WITHOUT: Final = (
    "aifc antigravity asynchat asyncore audioop bz2 cProfile cgi cgitb chunk compileall crypt ctypes curses dbm distutils "
    "ensurepip fcntl ftplib grp idlelib imaplib imghdr imp lib2to3 lzma mailcap mmap modulefinder msilib msvcrt multiprocessing nis "
    "nntplib nt nturl2path ossaudiodev pipes poplib profile pty pwd py_compile pyclbr pydoc pydoc_data readline resource selectors "
    "smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl subprocess sunau syslog telnetlib "
    "termios this tkinter tracemalloc tty turtle turtledemo uu venv webbrowser winreg winsound wsgiref xdrlib xmlrpc zipapp"
)
ABSENT: Final = frozenset(_WITHOUT.split())
"""Modules of a standard library, of whichever Python, that the guest does not have; names that begin with ``_`` are not told apart."""
ABSENT_BELOW: Final = frozenset({"http.client", "http.server", "urllib.request"})
"""Modules that the guest does not have of packages that it has; a file of the bundle can stand in for one."""
_INSTEAD: Final = {
    "an agent has no network; use runloop_agent.http": (
        "socket ssl select selectors socketserver ftplib imaplib poplib smtplib xmlrpc telnetlib nntplib requests httpx aiohttp urllib3 "
        "http.client http.server urllib.request wsgiref"
    ),
    "an agent cannot start processes; use runloop_agent.exec": "subprocess pty pexpect sh",
    "an agent runs in one thread; nodes of an opening work side by side, and runloop_agent.spawn.opening starts one": (
        "multiprocessing anyio trio"
    ),
    "an agent cannot load native code; only pure-Python packages placed in the bundle import": "ctypes cffi numpy pandas pydantic_core",
    "an agent has no terminal or screen; use runloop_agent.ask and runloop_agent.emit": (
        "tkinter turtle turtledemo curses readline idlelib tty termios webbrowser"
    ),
    "there is no database in an agent; use runloop_agent.kb": "sqlite3 dbm",
}
INSTEAD: Final = {name: said for said, names in _INSTEAD.items() for name in names.split()}
"""What a run would say of a module that cannot work in any guest, whether or not it lies in the bundle."""
_GUEST_VERSION: Final = (3, 14, 0)
_COMPARED: Final = {ast.GtE: operator.ge, ast.Gt: operator.gt, ast.LtE: operator.le, ast.Lt: operator.lt}
_NEWER: Final = frozenset({"annotationlib", "compression"})
_OWN: Final = frozenset({MODULE, "runloop_guest", "runloop_guest_main", "componentize_py_runtime", "componentize_py_types", "wit_world"})
_CAUGHT: Final = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


class Import(NamedTuple):
    """A module that is imported, and where."""

    name: str
    path: str
    line: int


def present(name: str) -> bool:
    """Whether the guest itself has a top-level module of that name, which then stands before one of the bundle."""
    return name in _OWN or name in _NEWER or (name in sys.stdlib_module_names and name not in ABSENT)


def hidden(files: Iterable[str], entry: str) -> list[str]:
    """The files whose top-level module is never imported, for the guest has one of that name. Those below it may be."""
    tops = ((path, path.removesuffix(".py").removesuffix("/__init__")) for path in sorted(filter(is_source, files)))
    return [path for path, name in tops if path != entry and "/" not in name and present(name)]


def missing(files: Mapping[str, bytes], entry: str) -> list[Import]:
    """The modules without which the agent cannot be loaded: neither the guest nor the bundle has them; each where it is imported first.

    Imports in functions, and those whose failure is or may be caught, are not looked at, nor files that the entry does not lead to.
    """
    found: dict[str, Import] = {}
    native = natives(files)
    seen, waiting = {entry}, [entry]
    while waiting:
        path = waiting.pop(0)
        try:
            tree = ast.parse(files[path])
        except (SyntaxError, KeyError, *BEYOND_PARSING):
            continue
        for name, line in _imported(tree.body, path):
            root, loaded = name.partition(".")[0], list(_files_of(name, files))
            if name in native:
                found.setdefault(name, Import(name, path, line))
            if below := next((each for each in ABSENT_BELOW if f"{name}.".startswith(f"{each}.")), None):
                if not loaded:
                    found.setdefault(below, Import(below, path, line))
            elif present(root) or root.startswith("_"):
                continue
            elif not any(each.partition("/")[0] in {root, f"{root}.py"} for each in files if is_source(each)):
                found.setdefault(root, Import(root, path, line))
            for file in loaded:
                if file not in seen:
                    seen.add(file)
                    waiting.append(file)
    return list(found.values())


def natives(files: Iterable[str]) -> frozenset[str]:
    """The dotted names of the modules that are there only as native libraries, which no guest loads."""
    files = set(files)
    bases = {"/".join([*path.split("/")[:-1], path.split("/")[-1].partition(".")[0]]) for path in files if path.endswith(NATIVE)}
    return frozenset(base.replace("/", ".") for base in bases if not {f"{base}.py", f"{base}/__init__.py"} & files)


def _imported(body: Iterable[ast.stmt], path: str) -> Iterator[tuple[str, int]]:
    """The dotted names that loading these statements imports, absolute; of ``from a import b`` both ``a`` and ``a.b``."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*path.split("/")[: -node.level], *([node.module] if node.module else [])] if node.level else [str(node.module)]
            if base:
                yield ".".join(base), node.lineno
            yield from ((".".join([*base, alias.name]), node.lineno) for alias in node.names)
        elif isinstance(node, ast.Try):
            if not any(_catches(handler) for handler in node.handlers):
                yield from _imported([*node.body, *node.orelse, *node.finalbody], path)
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.dump(node.test):
                held = _holds(node.test)
                yield from _imported([*(() if held is False else node.body), *(() if held is True else node.orelse)], path)
        elif isinstance(node, ast.ClassDef):
            yield from _imported(node.body, path)


def _holds(test: ast.expr) -> bool | None:
    """Whether a comparison of the version holds in the guest; None where it is another test."""
    match test:
        case ast.Compare(left=ast.Attribute(attr="version_info"), ops=[comparison], comparators=[ast.Tuple(elts=parts)]):
            compare = _COMPARED.get(type(comparison))
            wanted = tuple(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, int))
            if compare is not None and wanted and len(wanted) == len(parts):
                return bool(compare(_GUEST_VERSION, wanted))
    return None


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in _CAUGHT for node in ast.walk(handler.type))


def _files_of(name: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """The files that importing ``name`` loads, as far as the bundle has them."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        base = "/".join(parts[:length])
        yield from (file for file in (f"{base}/__init__.py", f"{base}.py") if file in files)
