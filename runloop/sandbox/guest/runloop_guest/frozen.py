"""Which of the standard library is frozen into the guest, and what an agent is told about the rest."""

import importlib
import importlib.machinery
import pkgutil
import sys
from types import CodeType

NO_NETWORK = "an agent has no network; use runloop_agent.http"
NO_PROCESSES = "an agent cannot start processes; use runloop_agent.exec"
_NO_THREADS = "an agent runs in one thread; nodes of an opening work side by side, and runloop_agent.spawn.opening starts one"
_NO_NATIVE = "an agent cannot load native code; only pure-Python packages placed in the bundle import"
_NO_SCREEN = "an agent has no terminal or screen; use runloop_agent.ask and runloop_agent.emit"
_NO_DATABASE = "there is no database in an agent; use runloop_agent.kb"

_REASONS = {
    NO_NETWORK: (
        "socket _socket ssl _ssl select selectors socketserver ftplib imaplib poplib smtplib xmlrpc telnetlib nntplib requests httpx "
        "aiohttp urllib3 http.client http.server urllib.request wsgiref"
    ),
    NO_PROCESSES: "subprocess _posixsubprocess pty pexpect sh",
    _NO_THREADS: ("multiprocessing _multiprocessing concurrent.futures.process concurrent.interpreters anyio trio"),
    _NO_NATIVE: "ctypes _ctypes cffi numpy pandas pydantic_core _cffi_backend",
    _NO_SCREEN: "tkinter _tkinter turtle turtledemo curses _curses readline idlelib tty termios webbrowser",
    _NO_DATABASE: "sqlite3 _sqlite3 dbm",
}
NO_DEBUGGER = "nobody can debug inside an agent: print() what you want to see, and run it again with `rlp agent test` or `rlp replay`"
ABSENT = {name: reason for reason, names in _REASONS.items() for name in names.split()}

_SKIPPED = {
    "__main__",
    "_aix_support",
    "_android_support",
    "_apple_support",
    "_ios_support",
    "_osx_support",
    "_pyrepl",
    "_sysconfigdata",
    "antigravity",
    "bdb",
    "cProfile",
    "cgi",
    "cgitb",
    "cmd",
    "code",
    "codeop",
    "compileall",
    "crypt",
    "ensurepip",
    "faulthandler",
    "lib2to3",
    "modulefinder",
    "msilib",
    "msvcrt",
    "nt",
    "nturl2path",
    "pdb",
    "pip",
    "profile",
    "py_compile",
    "pyclbr",
    "pydoc",
    "pydoc_data",
    "rlcompleter",
    "site",
    "sitecustomize",
    "sre_compile",
    "sre_constants",
    "sre_parse",
    "test",
    "this",
    "tracemalloc",
    "usercustomize",
    "venv",
    "winreg",
    "winsound",
    "zipapp",
    "_msi",
    "_winapi",
}
_SKIPPED_BELOW = (
    "unittest.", "ctypes.", "concurrent.futures.", "concurrent.interpreters", "multiprocessing.", "distutils.",
    "importlib.resources.simple", "encodings.oem", "encodings.mbcs", "_sysconfigdata",
)  # fmt: skip
_WANTED_BELOW = frozenset({"unittest.mock"})
"""What packages import of those after all, beside their own tests."""
_COPIED = ("html.parser",)
"""Modules of which packages make copies of their own, to change them, as Markdown does."""
_loaded: set[str] = set()


class _Kept(importlib.machinery.SourceFileLoader):
    """The loader of a module whose code stays in memory, so that it can be run once more."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        """Give the code that was there when the guest was built."""
        return self._code


def _wanted(name: str) -> bool:
    root = name.partition(".")[0]
    if root in _SKIPPED or root in ABSENT or name in ABSENT or name.endswith(".__main__"):
        return False
    return name in _WANTED_BELOW or not name.startswith(_SKIPPED_BELOW)


def _load(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, AttributeError):
        return
    for found in sorted(pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."), key=lambda info: info.name):
        if _wanted(found.name):
            _load(found.name)


def freeze() -> None:
    """Import all of the standard library that works without files, network, processes or threads."""
    for name in sorted(sys.stdlib_module_names):
        if _wanted(name):
            _load(name)
    for name in sorted(sys.modules):
        if name in ABSENT or name.partition(".")[0] in ABSENT:
            del sys.modules[name]
    for name in _COPIED:
        _keep(name)
    setattr(sys, "breakpointhook", _no_debugger)  # noqa: B010 - a C function, whose type checkers know
    for called in ("set_trace", "post_mortem", "pm"):  # doctest has imported it
        setattr(sys.modules["pdb"], called, _no_debugger)
    _loaded.update(sys.modules)


def _keep(name: str) -> None:
    module = sys.modules[name]
    spec = module.__spec__
    assert spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader)  # noqa: S101, PT018 - of the standard library
    code = spec.loader.get_code(name)
    assert code is not None  # noqa: S101 - it was just imported
    spec.loader = module.__loader__ = _Kept(name, spec.loader.path, code)


def _no_debugger(*_args: object, **_named: object) -> None:
    """Stand in for what would ask somebody at a terminal."""
    raise RuntimeError(NO_DEBUGGER)


def explain(name: str) -> str:
    """Say why ``name`` cannot be imported and what to use instead."""
    if name in _loaded:
        return "it was loaded when the guest was built, and cannot be loaded again; leave it in sys.modules, and do not reload it"
    why = ABSENT.get(name) or ABSENT.get(name.partition(".")[0])
    if why is None and name in sys.stdlib_module_names:
        why = "this part of the standard library is not in the Python guest"
    return why or "place pure-Python packages in the agent's bundle, beside agent.py"
