"""One run of one agent: find its function, fill its parameters, carry its result."""

import inspect
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from runloop_agent import _calls, _entry
from runloop_guest import bundle, output, tracing, virtual


class Failed(Exception):
    """The agent ended without a result; ``kind`` is a name of the world's ``failure-kind``."""

    def __init__(self, kind: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.detail = detail


def run(request: str) -> str:
    """Run the agent of a wrapped request ``{entry, sources, seed, request}``; returns its result as JSON or raises Failed."""
    wrapped = json.loads(request)
    virtual.seed(wrapped["seed"])
    output.install()
    bundle.install(wrapped["sources"])
    try:
        result = _perform(wrapped["entry"], wrapped["request"])
        return _result(result)
    except Failed:
        raise
    except MemoryError:
        raise Failed("MEMORY", "the agent used all the memory it may have") from None
    except BaseException as error:  # noqa: BLE001 - whatever the agent raises becomes its traceback
        raise _failure(error) from None
    finally:
        output.finish()


def _failure(error: BaseException) -> Failed:
    line, detail = tracing.describe(error)
    if isinstance(error, SystemExit):
        line = f"the agent called sys.exit({error.code!r}); return a result or raise instead"
    return Failed("EXCEPTION", line, detail)


def _perform(entry: str, request: dict[str, Any]) -> object:
    name = entry.removesuffix(".py").replace("/", ".")
    sys.argv[:] = [entry]
    module = __import__(name, fromlist=["__name__"])
    function = _function(module, entry)
    return function(**_arguments(function, entry, request.get("with") or {}, request.get("inputs") or {}))


def _function(module: ModuleType, entry: str) -> Callable[..., Any]:
    marked = [value for value in vars(module).values() if getattr(value, _entry.MARK, False) is True]
    if len(marked) > 1:
        names = ", ".join(getattr(value, "__name__", "?") for value in marked)
        raise Failed("BAD_AGENT", f"{entry} marks several functions with @agent ({names}); mark one")
    function = marked[0] if marked else getattr(module, "run", None)
    if not callable(function):
        raise Failed("BAD_AGENT", f"{entry} has no function marked with @agent and none named run")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise Failed("BAD_AGENT", f"{function.__name__}() of {entry} must be an ordinary function: calls to the host simply return their answers")
    return function


def _arguments(function: Callable[..., Any], entry: str, with_: dict[str, Any], inputs: dict[str, list[Any]]) -> dict[str, Any]:
    offered = dict(with_)
    for port, values in inputs.items():
        if values:
            offered[port] = values[0] if len(values) == 1 else values
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.POSITIONAL_ONLY for one in parameters):
        raise Failed("BAD_AGENT", f"{function.__name__}() of {entry} has positional-only parameters; they are filled by name")
    named = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    missing = [one.name for one in named.values() if one.default is one.empty and one.name not in offered]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise Failed("BAD_AGENT", f"{function.__name__}() of {entry} needs {names}: give it under `with`, or connect an edge to a port of that name")
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return offered
    return {name: value for name, value in offered.items() if name in named}


def _result(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_calls.plain)
    except RecursionError:
        raise Failed("BAD_RESULT", "the result is nested too deeply") from None
    except (TypeError, ValueError) as wrong:
        place = _misfit(value, "result", 0) or "result"
        raise Failed("BAD_RESULT", f"{place} cannot be carried as JSON: {wrong}") from None


def _misfit(value: object, place: str, depth: int) -> str | None:
    """Where the first value without a JSON form lies, such as ``result['out']['when']``."""
    if depth > 40 or value is None or isinstance(value, str | bool | int):
        return None
    if isinstance(value, float):
        return None if value - value == 0 else place
    if isinstance(value, list | tuple):
        return next((found for at, one in enumerate(value) if (found := _misfit(one, f"{place}[{at}]", depth + 1))), None)
    if isinstance(value, dict):
        return next((found for key, one in value.items() if (found := _misfit(one, f"{place}[{key!r}]", depth + 1))), None)
    try:
        return _misfit(_calls.plain(value), place, depth + 1)
    except TypeError:
        return place
