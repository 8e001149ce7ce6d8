"""Hostcalls of the Python guest: names to the functions of the world, refusals to exceptions."""

import importlib

from componentize_py_types import Err

from runloop_agent import _calls

_FUNCTIONS = {
    f"{interface}.{name}": getattr(importlib.import_module(f"wit_world.imports.{interface}"), name)
    for interface, names in {
        "model": ("complete", "embed"),
        "kb": ("search", "get", "query", "propose"),
        "http": ("fetch",),
        "files": ("read", "list", "write"),
        "exec": ("run",),
        "mail": ("send",),
        "ask": ("person",),
        "secrets": ("handle",),
        "spawn": ("agent", "opening"),
        "timer": ("sleep",),
        "emit": ("progress", "log", "artifact"),
        "checkpoint": ("mark",),
    }.items()
    for name in names
}


def _dispatch(name: str, request: str) -> str:
    function = _FUNCTIONS.get(name)
    if function is None:
        raise _calls.Invalid(f"there is no hostcall {name!r}", "see docs/hostcalls.md for their names")
    try:
        answer: str = function(request)
    except Err as refused:
        error = refused.value
        raise _calls.ERRORS[error.code.name.lower()](error.message, error.hint) from None
    return answer


def connect() -> None:
    """Make the functions of ``runloop_agent`` ask the host."""
    _calls.install(_dispatch)
