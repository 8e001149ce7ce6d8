"""Which of the standard library is frozen into the guest, and what an agent is told about the rest."""

import importlib
import pkgutil
import sys

_NO_NETWORK = "an agent has no network; use runloop_agent.http"
_NO_PROCESSES = "an agent cannot start processes; use runloop_agent.exec"
_NO_THREADS = "an agent runs in one thread; use runloop_agent.spawn for work side by side"
_NO_NATIVE = "an agent cannot load native code; only pure-Python packages placed in the bundle import"
_NO_SCREEN = "an agent has no terminal or screen; use runloop_agent.ask and runloop_agent.emit"
_NO_DATABASE = "there is no database in an agent; use runloop_agent.kb"

ABSENT = {
    **dict.fromkeys(
        ("socket", "_socket", "ssl", "_ssl", "select", "selectors", "socketserver", "ftplib", "imaplib", "poplib", "smtplib", "xmlrpc", "telnetlib",
         "nntplib", "requests", "httpx", "aiohttp", "urllib3", "http.client", "http.server", "urllib.request", "wsgiref"), _NO_NETWORK),
    **dict.fromkeys(("subprocess", "_posixsubprocess", "pty", "pexpect", "sh"), _NO_PROCESSES),
    **dict.fromkeys(("multiprocessing", "_multiprocessing", "asyncio", "_asyncio", "concurrent.futures.process", "concurrent.interpreters",
                     "anyio", "trio"), _NO_THREADS),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi", "numpy", "pandas", "pydantic_core", "_cffi_backend"), _NO_NATIVE),
    **dict.fromkeys(("tkinter", "_tkinter", "turtle", "turtledemo", "curses", "_curses", "readline", "idlelib", "tty", "termios", "webbrowser"), _NO_SCREEN),
    **dict.fromkeys(("sqlite3", "_sqlite3", "dbm"), _NO_DATABASE),
}  # fmt: skip

_SKIPPED = {
    "__main__", "_aix_support", "_android_support", "_apple_support", "_ios_support", "_osx_support", "_pyrepl", "_sysconfigdata", "antigravity", "cProfile",
    "cgi", "cgitb", "code", "codeop", "ensurepip", "lib2to3", "msilib", "nt", "ntpath_", "pdb", "pip", "profile", "pydoc", "pydoc_data", "site",
    "sitecustomize", "test", "this", "tracemalloc", "usercustomize", "venv", "winreg", "winsound", "zipapp", "_winapi", "msvcrt", "_msi", "nturl2path",
    "compileall", "py_compile", "crypt", "bdb", "cmd", "rlcompleter", "pyclbr", "modulefinder", "sre_compile", "sre_constants", "sre_parse", "faulthandler",
}  # fmt: skip
_SKIPPED_BELOW = ("unittest.", "ctypes.", "concurrent.futures.", "concurrent.interpreters", "multiprocessing.", "distutils.", "importlib.resources.simple",
                  "encodings.oem", "encodings.mbcs", "json.__main__", "sysconfig.__main__", "zipfile.__main__", "xml.sax.expatreader_")  # fmt: skip


def _wanted(name: str) -> bool:
    root = name.partition(".")[0]
    if root in _SKIPPED or root in ABSENT or name in ABSENT or name.endswith(".__main__"):
        return False
    return not name.startswith(_SKIPPED_BELOW) and not name.startswith("_sysconfigdata")


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


def explain(name: str) -> str:
    """Say why ``name`` cannot be imported and what to use instead."""
    why = ABSENT.get(name) or ABSENT.get(name.partition(".")[0])
    if why is None and name in sys.stdlib_module_names:
        why = "this part of the standard library is not in the Python guest"
    return why or "place pure-Python packages in the agent's bundle, beside agent.py"
