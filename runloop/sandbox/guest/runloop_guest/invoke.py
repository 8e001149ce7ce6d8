"""One run of one agent: find its function, fill its parameters, carry its result."""

import asyncio
import difflib
import inspect
import json
import sys
from collections.abc import Callable
from types import CoroutineType, FunctionType, ModuleType
from typing import Any

from runloop_agent import _calls, _entry, emit

from . import bundle, output, tracing, virtual

_YIELDS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class Failed(Exception):  # noqa: N818 - named for what happened
    """The agent ended without a result; ``kind`` is a name of the world's ``failure-kind``."""

    def __init__(self, kind: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = _calls.carried(message)
        self.detail = _calls.carried(detail)


_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # the C scanner, without the Python around it
_encode = json.encoder.c_make_encoder(  # type: ignore[attr-defined]  # the C encoder, as above
    {},
    _calls.plain,
    json.encoder.encode_basestring_ascii,
    None,
    ": ",
    ", ",
    False,
    False,
    False,
)


def run(request: str) -> str:
    """Run the agent of a wrapped request ``{entry, sources, codes, data, seed, request}``; returns its result as JSON or raises Failed.

    A request ``{compile: sources}`` is answered with the ``codes`` of those sources.
    """
    wrapped: dict[str, Any] = _scan(request, 0)[0]
    if "compile" in wrapped:
        return json.dumps(bundle.compile_all(wrapped["compile"]))
    virtual.seed(wrapped["seed"])
    try:
        return _result(_perform(wrapped))
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


def _perform(wrapped: dict[str, Any]) -> object:
    entry, request = wrapped["entry"], wrapped["request"]
    sys.argv[:] = [entry]
    function = _function(bundle.load_entry(wrapped["sources"], wrapped["codes"], wrapped["data"], entry), entry)
    result = function(**_arguments(function, entry, request.get("with") or {}, request.get("inputs") or {}))
    return asyncio.run(result) if type(result) is CoroutineType else result


def _function(module: ModuleType, entry: str) -> Callable[..., Any]:
    marked = [value for value in vars(module).values() if getattr(value, _entry.MARK, False) is True]
    if len(marked) > 1:
        names = ", ".join(getattr(value, "__name__", "?") for value in marked)
        raise Failed("BAD_AGENT", f"{entry} marks several functions with @agent ({names}); mark one")
    function: Callable[..., Any] | None = marked[0] if marked else getattr(module, "run", None)
    if not callable(function):
        raise Failed("BAD_AGENT", f"{entry} has no function marked with @agent and none named run")
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & _YIELDS:
        raise Failed("BAD_AGENT", f"{function.__name__}() of {entry} is a generator, and what it would yield goes nowhere")
    return function


def _arguments(function: Callable[..., Any], entry: str, with_: dict[str, Any], inputs: dict[str, list[Any]]) -> dict[str, Any]:
    offered = dict(with_)
    for port, values in inputs.items():
        if values:
            offered[port] = values[0] if len(values) == 1 else values
    required, optional, takes_all = _parameters(function, entry)
    missing = [name for name in required if name not in offered]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise Failed(
            "BAD_AGENT", f"{function.__name__}() of {entry} needs {names}: give it under `with`, or connect an edge to a port of that name"
        )
    if takes_all:
        return offered
    taken = {name: value for name, value in offered.items() if name in required or name in optional}
    if len(taken) < len(offered):
        _tell_left_out([name for name in with_ if name not in taken], [*required, *optional], f"{function.__name__}() of {entry}")
    return taken


def _tell_left_out(names: list[str], known: list[str], where: str) -> None:
    """Say in the log which arguments under ``with`` go nowhere: most often they are misspelt."""
    for name in names:
        meant = difflib.get_close_matches(name, known, 1)
        emit.log(f"{where} takes no {name!r}: it is left out" + (f"; did you mean {meant[0]!r}?" if meant else ""), "warn")


def _parameters(function: Callable[..., Any], entry: str) -> tuple[list[str], list[str], bool]:
    """Names that must be given, names that may be given, and whether any other is taken."""
    if type(function) is FunctionType and not hasattr(function, "__wrapped__") and not function.__code__.co_posonlyargcount:
        code = function.__code__  # read directly: inspect would touch a quarter of a megabyte
        named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        free = len(function.__defaults__ or ())
        defaults = {*code.co_varnames[code.co_argcount - free : code.co_argcount], *(function.__kwdefaults__ or ())}
        return [name for name in named if name not in defaults], list(defaults), bool(code.co_flags & inspect.CO_VARKEYWORDS)
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.POSITIONAL_ONLY for one in parameters):
        raise Failed("BAD_AGENT", f"{function.__name__}() of {entry} has positional-only parameters; they are filled by name")
    named_ones = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    required = [one.name for one in named_ones if one.default is one.empty]
    return required, [one.name for one in named_ones], any(one.kind is one.VAR_KEYWORD for one in parameters)


def _result(value: object) -> str:
    try:
        return "".join(_encode(value, 0))
    except RecursionError:
        raise Failed("BAD_RESULT", "the result is nested too deeply, or holds itself") from None
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
        for key, one in value.items():
            if not (key is None or isinstance(key, str | int | float)):
                return place
            if found := _misfit(one, f"{place}[{key!r}]", depth + 1):
                return found
        return None
    try:
        return _misfit(_calls.plain(value), place, depth + 1)
    except TypeError:
        return place
